import { expect, test } from 'vitest'
import { entry, hash, LIMITS, type Open, RACERS, session, type User, user, winners } from './records.ts'

const proved = (id: string, usernameKey: string, email: string) => user({ id, usernameKey, email, emailVerifiedAt: 1 })

export function userTests(open: Open): void {
  test('a user comes back as stored, by id, by name and by verified address', async () => {
    await using storage = await open()
    const ada = user({ email: 'ada@example.com', emailVerifiedAt: 5 })
    expect(await storage.users.create(ada)).toBe(true)
    expect(await storage.users.findById('u1')).toEqual(ada)
    expect(await storage.users.findByUsernameKey('ada')).toEqual(ada)
    expect(await storage.users.findByVerifiedEmail('ada@example.com')).toEqual(ada)
    expect(await storage.users.findById('u2')).toBe(null)
    expect(await storage.users.findByUsernameKey("ada' or 1=1 --")).toBe(null)
  })

  test('an unverified address finds nobody and keeps nobody else from it', async () => {
    await using storage = await open()
    await storage.users.create(user({ email: 'a@example.com' }))
    expect(await storage.users.findByVerifiedEmail('a@example.com')).toBe(null)
    expect(await storage.users.create(user({ id: 'u2', usernameKey: 'b', email: 'a@example.com', emailVerifiedAt: 1 }))).toBe(true)
    expect(await storage.users.create(user({ id: 'u3', usernameKey: 'c', email: 'a@example.com', emailVerifiedAt: 1 }))).toBe(false)
  })

  test('of 20 that take one username at once, one gets it', async () => {
    await using storage = await open()
    expect(await winners((index) => storage.users.create(user({ id: `u${index}` })))).toBe(1)
  })

  test('of many users that are made at once those are left out whose name is taken, before or among them', async () => {
    await using storage = await open()
    await storage.users.create(user({ id: 'u0', usernameKey: 'n7' }), entry('a0'))
    const many = Array.from({ length: 250 }, (_, index) => user({ id: `m${index}`, usernameKey: `n${index === 201 ? 3 : index}` }))
    const outcomes = await storage.users.createMany(many, entry('a1'))
    const expected = new Map(many.map(({ id }) => [id, id === 'm7' || id === 'm201' ? 'username_taken' : 'created']))
    expect(outcomes).toEqual(expected)
    expect(new Set((await storage.users.createMany(many, entry('a2'))).values())).toEqual(new Set(['username_taken']))
    expect(await storage.users.createMany([], entry('a3'))).toEqual(new Map())
    expect(await storage.users.findByUsernameKey('n249')).toEqual(many[249])
    expect((await storage.audit.list({ userId: null, type: null, limit: 9, before: null })).map(({ id }) => id)).toEqual(['a1', 'a0'])
  })

  test('of many users that are made at once each one left out is told apart: its username was taken, or its proved email', async () => {
    await using storage = await open()
    await storage.users.create(proved('u0', 'ada', 'ada@example.com'))
    const filler = Array.from({ length: 150 }, (_, index) => user({ id: `m${index}`, usernameKey: `n${index}` }))
    const outcomes = await storage.users.createMany([
      proved('m-email', 'eve', 'ada@example.com'),
      proved('m-both', 'ada', 'ada@example.com'),
      user({ id: 'm-claim', usernameKey: 'bob', email: 'ada@example.com' }),
      proved('m-first', 'one', 'same@example.com'),
      ...filler,
      proved('m-second', 'two', 'same@example.com'),
      proved('m-name', 'n3', 'other@example.com'),
    ])
    const named = [...outcomes].filter(([id]) => id.includes('-'))
    expect(named).toEqual([
      ['m-email', 'email_taken'],
      ['m-both', 'username_taken'],
      ['m-claim', 'created'],
      ['m-first', 'created'],
      ['m-second', 'email_taken'],
      ['m-name', 'username_taken'],
    ])
    expect(outcomes.size).toBe(156)
  })

  test('of 20 password changes from one epoch at once, one holds', async () => {
    await using storage = await open()
    await storage.users.create(user())
    const change = (index: number) => storage.users.setPassword('u1', { epoch: 0, passwordHash: `h${index}`, now: 2000, keep: null })
    expect(await winners(change)).toBe(1)
    expect((await storage.users.findById('u1'))?.epoch).toBe(1)
  })

  test('a password change ends all sessions but the kept one, which moves to its new token', async () => {
    await using storage = await open()
    await storage.users.create(user())
    for (const id of ['s1', 's2']) await storage.sessions.start(session({ id }), LIMITS)
    const keep = { sessionId: 's1', from: hash('s1'), to: hash('new') }
    expect(await storage.users.setPassword('u1', { epoch: 0, passwordHash: 'h', now: 2000, keep })).toBe(true)
    expect(await storage.sessions.find(hash('s1'))).toBe(null)
    expect((await storage.sessions.find(hash('new')))?.session).toMatchObject({
      id: 's1',
      userEpoch: 1,
      endedAt: null,
      authenticatedAt: 2000,
    })
    expect((await storage.sessions.find(hash('s2')))?.session.endedAt).toBe(2000)
  })

  test('a password change with a session that has ended changes nothing', async () => {
    await using storage = await open()
    await storage.users.create(user())
    await storage.sessions.start(session(), LIMITS)
    await storage.sessions.end('s1', 'u1', 1500)
    const keep = { sessionId: 's1', from: hash('s1'), to: hash('new') }
    expect(await storage.users.setPassword('u1', { epoch: 0, passwordHash: 'h', now: 2000, keep })).toBe(false)
    expect(await storage.users.findById('u1')).toEqual(user({ lastLoginAt: 1000 }))
  })

  test('a hash is replaced only while it is the one that was read', async () => {
    await using storage = await open()
    await storage.users.create(user())
    expect(await winners((index) => storage.users.rehash('u1', { from: '$argon2id$x', to: `better${index}` }))).toBe(1)
  })

  test('of 20 resets that are started at once, one is left', async () => {
    await using storage = await open()
    await storage.users.create(user())
    const tokens = Array.from({ length: RACERS }, (_, index) => hash(`r${index}`))
    expect(await winners((index) => storage.users.startReset({ tokenHash: tokens[index] ?? hash(''), userId: 'u1', expiresAt: 100 }))).toBe(
      RACERS,
    )
    const found = await Promise.all(tokens.map((token) => storage.users.findReset(token, 50)))
    expect(found.filter((owner) => owner !== null)).toHaveLength(1)
  })

  test('of 20 that prove one address at once, one has it, and each change of 20 to one user is kept', async () => {
    await using storage = await open()
    for (let i = 0; i < RACERS; i += 1) await storage.users.create(user({ id: `u${i}`, usernameKey: `n${i}`, email: 'same@example.com' }))
    const proved = await Promise.all(
      Array.from({ length: RACERS }, (_, index) => storage.users.update(`u${index}`, { emailVerifiedAt: 5 })),
    )
    expect(proved.filter((answer) => answer !== 'taken')).toHaveLength(1)
    await winners((index) => storage.users.update('u0', index % 2 === 0 ? { name: `n${index}` } : { attributes: { index } }))
    const kept = await storage.users.findById('u0')
    expect([kept?.name, kept?.attributes]).toEqual([expect.stringMatching(/^n\d+$/), { index: expect.any(Number) as unknown }])
  })

  test('lists go by bytes: upper before lower case, and letters beyond ASCII after them', async () => {
    await using storage = await open()
    const keys = ['a-b', 'aB', 'a_b', 'ab', 'aé', 'aü', 'a日', 'a\u{1f600}']
    for (const [index, key] of keys.toReversed().entries()) await storage.users.create(user({ id: `u${index}`, usernameKey: key }))
    const found = await storage.users.list({ search: 'a', limit: 100, after: null })
    expect(found.map(({ usernameKey }) => usernameKey)).toEqual(keys)
  })

  test('what no name can hold finds nobody, and fails nothing', async () => {
    await using storage = await open()
    await storage.users.create(user())
    for (const text of ['a\0', '\0', '\ud800', '\u{10ffff}']) {
      expect(await storage.users.findByUsernameKey(text)).toBe(null)
      expect(await storage.users.findById(text)).toBe(null)
      expect(await storage.users.list({ search: text, limit: 5, after: null })).toEqual([])
      expect(await storage.sessions.end(text, text, 2000)).toBe(false)
      expect(await storage.audit.list({ userId: text, type: text, limit: 5, before: text })).toEqual([])
    }
  })

  test('disabling ends all sessions and moves the epoch on, enabling brings none back', async () => {
    await using storage = await open()
    await storage.users.create(user())
    await storage.sessions.start(session(), LIMITS)
    expect(await storage.users.setDisabledAt('u1', 2000, 2000)).toMatchObject({ disabledAt: 2000, epoch: 1 })
    expect(await storage.users.setDisabledAt('u1', null, 2001)).toMatchObject({ disabledAt: null })
    expect((await storage.sessions.find(hash('s1')))?.session.endedAt).toBe(2000)
    expect(await storage.users.setDisabledAt('u9', 1, 1)).toBe(null)
  })

  test('deleting a user takes the sessions along; of 20 at once one does it', async () => {
    await using storage = await open()
    await storage.users.create(user())
    await storage.sessions.start(session(), LIMITS)
    expect(await winners(() => storage.users.delete('u1'))).toBe(1)
    expect(await storage.sessions.find(hash('s1'))).toBe(null)
  })

  test('users are listed newest first, found by the beginning of name or address, and paged without gaps or repeats', async () => {
    await using storage = await open()
    const ids = Array.from({ length: 7 }, (_, index) => `u${index}`)
    for (const id of ids) await storage.users.create(user({ id, usernameKey: `name_${id}`, email: id > 'u3' ? 'same@example.com' : null }))
    await storage.users.create(user({ id: 'zz', usernameKey: '%' }))
    async function all(search: string | null): Promise<string[]> {
      const found: User[] = []
      for (;;) {
        const page = await storage.users.list({ search, limit: 3, after: found.at(-1) ?? null })
        found.push(...page)
        if (page.length < 3) return found.map(({ id }) => id)
      }
    }
    expect(await all(null)).toEqual(['zz', ...ids.toReversed()])
    expect(await all('name_')).toEqual(ids)
    expect(await all('name_u1')).toEqual(['u1'])
    expect(await all('same@')).toEqual(['u4', 'u5', 'u6'])
    expect(await all('%')).toEqual(['zz'])
    expect(await all("' or 1=1 --")).toEqual([])
  })

  test('an update changes what it names, and nothing for nobody', async () => {
    await using storage = await open()
    await storage.users.create(user({ email: 'a@example.com', emailVerifiedAt: 1 }))
    expect(await storage.users.update('u1', { name: null })).toEqual(user({ name: null, email: 'a@example.com', emailVerifiedAt: 1 }))
    expect(await storage.users.update('u1', { email: 'b@example.com' })).toMatchObject({ email: 'b@example.com', emailVerifiedAt: null })
    expect(await storage.users.update('u1', { roles: ['x'], emailVerifiedAt: 9, attributes: { plan: 'é' } })).toMatchObject({
      roles: ['x'],
      emailVerifiedAt: 9,
      attributes: { plan: 'é' },
    })
    expect(await storage.users.update('u9', { name: 'x' })).toBe(null)
    await storage.users.create(user({ id: 'u2', usernameKey: 'b', email: 'b@example.com' }))
    expect(await storage.users.update('u2', { emailVerifiedAt: 5 })).toBe('taken')
    expect((await storage.users.findById('u2'))?.emailVerifiedAt).toBe(null)
  })

  test('AD-4: of twenty administrators that are demoted, disabled and deleted at once, one stays', async () => {
    await using storage = await open()
    for (let i = 0; i < RACERS; i += 1) await storage.users.create(user({ id: `u${i}`, usernameKey: `n${i}`, roles: ['admin'] }))
    const acts = [
      (id: string) => storage.users.update(id, { roles: [] }),
      (id: string) => storage.users.setDisabledAt(id, 1, 1),
      (id: string) => storage.users.delete(id),
    ]
    const answers = await Promise.all(Array.from({ length: RACERS }, async (_, index) => acts[index % 3]?.(`u${index}`)))
    expect(answers.filter((answer) => answer === 'last_admin')).toHaveLength(1)
    const left = (await storage.users.list({ search: null, limit: 100, after: null })).filter(
      ({ roles, disabledAt }) => roles.includes('admin') && disabledAt === null,
    )
    expect(left).toHaveLength(1)
  })

  test('RV-2: of 20 that use one reset at once, one does; sessions end, and a later reset voids an earlier one', async () => {
    await using storage = await open()
    await storage.users.create(user())
    await storage.sessions.start(session(), LIMITS)
    expect(await storage.users.startReset({ tokenHash: hash('r1'), userId: 'u1', expiresAt: 100 })).toBe(true)
    expect(await storage.users.startReset({ tokenHash: hash('r2'), userId: 'u1', expiresAt: 100 })).toBe(true)
    expect(await storage.users.startReset({ tokenHash: hash('r3'), userId: 'u9', expiresAt: 100 })).toBe(false)
    expect(await storage.users.findReset(hash('r1'), 50)).toBe(null)
    expect((await storage.users.findReset(hash('r2'), 50))?.id).toBe('u1')
    expect(await storage.users.findReset(hash('r2'), 100)).toBe(null)
    expect(await storage.users.finishReset(hash('r2'), { passwordHash: 'late', now: 100 })).toBe(false)
    expect(await winners((index) => storage.users.finishReset(hash('r2'), { passwordHash: `h${index}`, now: 60 }))).toBe(1)
    expect((await storage.users.findById('u1'))?.epoch).toBe(1)
    expect((await storage.sessions.find(hash('s1')))?.session.endedAt).toBe(60)
  })
}
