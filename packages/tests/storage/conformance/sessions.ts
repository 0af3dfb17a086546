import { expect, test } from 'vitest'
import { hash, LIMITS, type Open, RACERS, session, user, winners } from './records.ts'

export function sessionTests(open: Open): void {
  test('many sessions are found at once by their ids, with their users, and missing ones are left out', async () => {
    await using storage = await open()
    await storage.users.create(user())
    const ids = Array.from({ length: 1100 }, (_, index) => `s${index}`)
    for (const id of ids.slice(0, 3)) await storage.sessions.start(session({ id }), LIMITS)
    const found = await storage.sessions.findByIds(ids)
    expect(new Set(found.map((live) => `${live.session.id} of ${live.user.username}`))).toEqual(
      new Set(['s0 of Ada', 's1 of Ada', 's2 of Ada']),
    )
    expect(await storage.sessions.findByIds([])).toEqual([])
  })

  test('a session comes back with its user in one read, and the login is noted', async () => {
    await using storage = await open()
    await storage.users.create(user())
    expect(await storage.sessions.start(session(), LIMITS)).toBe(true)
    const found = await storage.sessions.find(hash('s1'))
    expect(found?.user).toEqual(user({ lastLoginAt: 1000 }))
    expect({ ...found?.session, tokenHash: null }).toEqual({ ...session(), tokenHash: null })
    expect(Buffer.from(found?.session.tokenHash ?? []).equals(hash('s1'))).toBe(true)
    expect(await storage.sessions.find(hash('other'))).toBe(null)
  })

  test.for([
    ['gone', 'u9', 0, false],
    ['of another epoch', 'u1', 1, false],
    ['disabled', 'u1', 1, true],
  ] as const)('no session starts for a user who is %s', async ([, userId, userEpoch, disabled]) => {
    await using storage = await open()
    await storage.users.create(user())
    if (disabled) await storage.users.setDisabledAt('u1', 1, 1)
    expect(await storage.sessions.start(session({ userId, userEpoch }), LIMITS)).toBe(false)
    expect(await storage.sessions.find(hash('s1'))).toBe(null)
  })

  test('a login removes the session it replaces and ends what exceeds the cap, oldest first', async () => {
    await using storage = await open()
    await storage.users.create(user())
    for (const [index, id] of ['s1', 's2', 's3'].entries()) await storage.sessions.start(session({ id, createdAt: 1000 + index }), LIMITS)
    await storage.sessions.start(session({ id: 's4', createdAt: 1004 }), { replaces: hash('s3'), maxPerUser: 2 })
    expect(await storage.sessions.find(hash('s3'))).toBe(null)
    expect((await storage.sessions.list(['u1'], 1005)).map(({ id }) => id)).toEqual(['s4', 's2'])
  })

  test('use moves a live session forward, never backward, and never revives one', async () => {
    await using storage = await open()
    await storage.users.create(user())
    for (const id of ['live', 'ended', 'expired'])
      await storage.sessions.start(session({ id, expiresAt: id === 'expired' ? 2000 : 5000 }), LIMITS)
    await storage.sessions.end('ended', 'u1', 1500)
    const uses = ['live', 'ended', 'expired'].map((id) => ({ id, lastSeenAt: 3000, expiresAt: 7000 }))
    await storage.sessions.extend(uses, 3000)
    await storage.sessions.extend([{ id: 'live', lastSeenAt: 2500, expiresAt: 6500 }], 3000)
    expect((await storage.sessions.find(hash('live')))?.session).toMatchObject({ lastSeenAt: 3000, expiresAt: 7000 })
    expect((await storage.sessions.find(hash('ended')))?.session).toMatchObject({ lastSeenAt: 1000, expiresAt: 1500, endedAt: 1500 })
    expect((await storage.sessions.find(hash('expired')))?.session).toMatchObject({ lastSeenAt: 1000, expiresAt: 2000 })
  })

  test('ST-9: what was found expired is ended for good, and nothing else is', async () => {
    await using storage = await open()
    await storage.users.create(user())
    for (const id of ['live', 'expired', 'other', 'ended'])
      await storage.sessions.start(session({ id, expiresAt: id === 'live' ? 5000 : 2000 }), LIMITS)
    await storage.sessions.end('ended', 'u1', 1500)
    await storage.sessions.expire(['live', 'expired', 'ended', 'nobody'], 2000)
    const ends = await Promise.all(
      ['live', 'expired', 'other', 'ended'].map(async (id) => (await storage.sessions.find(hash(id)))?.session.endedAt),
    )
    expect(ends).toEqual([null, 2000, null, 1500])
  })

  test('ending all without a user ends those of everyone', async () => {
    await using storage = await open()
    for (const id of ['u1', 'u2']) {
      await storage.users.create(user({ id, usernameKey: id }))
      await storage.sessions.start(session({ id: `s-${id}`, userId: id }), LIMITS)
    }
    expect(await storage.sessions.endAll(null, 's-u2', 2000)).toBe(1)
    expect(await storage.sessions.endAll(null, null, 2000)).toBe(1)
    expect(await storage.sessions.list(['u2'], 2000)).toEqual([])
  })

  test('of 20 that sign in at once where two sessions are allowed, two stay', async () => {
    await using storage = await open()
    await storage.users.create(user())
    const start = (index: number) =>
      storage.sessions.start(session({ id: `s${index}`, createdAt: 1000 + index }), { replaces: null, maxPerUser: 2 })
    expect(await winners(start)).toBe(RACERS)
    expect(await storage.sessions.list(['u1'], 1500)).toHaveLength(2)
  })

  test('of 20 that rotate one token at once, one does, and an ended session is not rotated', async () => {
    await using storage = await open()
    await storage.users.create(user())
    await storage.sessions.start(session(), LIMITS)
    const rotate = (index: number) => storage.sessions.rotate('s1', { from: hash('s1'), to: hash(`t${index}`), authenticatedAt: 2000 })
    expect(await winners(rotate)).toBe(1)
    await storage.sessions.start(session({ id: 's2' }), LIMITS)
    await storage.sessions.end('s2', 'u1', 1500)
    expect(await storage.sessions.rotate('s2', { from: hash('s2'), to: hash('x'), authenticatedAt: 2000 })).toBe(false)
  })

  test('of 20 that end one session at once, one does; somebody else’s is not there', async () => {
    await using storage = await open()
    await storage.users.create(user())
    await storage.sessions.start(session(), LIMITS)
    expect(await storage.sessions.end('s1', 'u2', 2000)).toBe(false)
    expect(await winners(() => storage.sessions.end('s1', 'u1', 2000))).toBe(1)
  })

  test('ending all spares the one to keep and counts the others', async () => {
    await using storage = await open()
    await storage.users.create(user())
    for (const id of ['s1', 's2', 's3']) await storage.sessions.start(session({ id }), LIMITS)
    expect(await storage.sessions.endAll('u1', 's2', 2000)).toBe(2)
    expect((await storage.sessions.list(['u1'], 2000)).map(({ id }) => id)).toEqual(['s2'])
    expect(await storage.sessions.endAll('u1', null, 2000)).toBe(1)
  })

  test('a purge removes at most its limit, and only what expired before', async () => {
    await using storage = await open()
    await storage.users.create(user())
    for (let i = 0; i < 5; i += 1) await storage.sessions.start(session({ id: `s${i}`, expiresAt: 2000 + i }), LIMITS)
    expect(await storage.sessions.purge(2004, 3)).toBe(3)
    expect(await storage.sessions.purge(2004, 3)).toBe(1)
    expect(await storage.sessions.find(hash('s4'))).not.toBe(null)
  })
}
