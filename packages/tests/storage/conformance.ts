import { createHash } from 'node:crypto'
import type { Storage } from '@trpc-login/server'
import { expect, test } from 'vitest'

type User = Parameters<Storage['users']['create']>[0]
type Session = Parameters<Storage['sessions']['start']>[0]
type Identity = Parameters<Storage['identities']['link']>[0]
type LinkProof = Parameters<Storage['identities']['link']>[1]
type Transaction = Parameters<Storage['transactions']['put']>[0]

const ANY = { userId: null, type: null, limit: 100, before: null }
const RACERS = 20
const LIMITS = { replaces: null, maxPerUser: 50 }
const hash = (text: string) => new Uint8Array(createHash('sha256').update(text).digest())

function user(fields: Partial<User> = {}): User {
  return {
    id: 'u1',
    username: 'Ada',
    usernameKey: 'ada',
    name: 'Ada Lovelace ❤',
    email: null,
    emailVerifiedAt: null,
    roles: ['editor', 'ünï'],
    passwordHash: '$argon2id$x',
    epoch: 0,
    createdAt: 1_800_000_000_000,
    disabledAt: null,
    lastLoginAt: null,
    attributes: null,
    ...fields,
  }
}

function session(fields: Partial<Session> = {}): Session {
  return {
    id: 's1',
    userId: 'u1',
    userEpoch: 0,
    tokenHash: hash(fields.id ?? 's1'),
    createdAt: 1000,
    lastSeenAt: 1000,
    expiresAt: 5000,
    absoluteExpiresAt: 9000,
    authenticatedAt: 1000,
    remembered: true,
    userAgent: 'agent',
    ip: '::1',
    endedAt: null,
    ...fields,
  }
}

function identity(fields: Partial<Identity> = {}): Identity {
  return {
    id: 'i1',
    userId: 'u1',
    provider: 'google',
    issuer: 'https://issuer',
    subject: 'sub',
    email: 'a@example.com',
    createdAt: 5,
    ...fields,
  }
}

function transaction(fields: Partial<Transaction> = {}): Transaction {
  return {
    stateHash: hash('state'),
    bindingHash: hash('binding'),
    provider: 'google',
    nonce: 'nonce',
    codeVerifier: 'verifier',
    returnTo: '/app?a=1',
    remember: true,
    link: false,
    userId: null,
    sessionId: null,
    loopbackPort: null,
    createdAt: 5,
    expiresAt: 100,
    ...fields,
  }
}

function entry(id: string, fields = {}) {
  return { id, at: 5, type: 't', actorId: 'u1', subjectId: 'u1', address: '::1', detail: { before: 'x' }, ...fields }
}

/** How many of 20 at once got a truthy answer. */
async function winners(act: (index: number) => Promise<unknown>): Promise<number> {
  const answers = await Promise.all(Array.from({ length: RACERS }, (_, index) => act(index)))
  return answers.filter(Boolean).length
}

/** What every engine promises; see the port for the words. */
export function storageTests(open: () => Promise<Storage & AsyncDisposable>): void {
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

  test('the number of changes is another one after each change, and the same after none', async () => {
    await using storage = await open()
    const before = await storage.changes()
    await storage.users.findById('u1')
    expect(await storage.changes()).toBe(before)
    await storage.users.create(user())
    const after = await storage.changes()
    expect(after).not.toBe(before)
    await storage.sessions.start(session(), LIMITS)
    expect(await storage.changes()).not.toBe(after)
  })

  test('of 20 that take one username at once, one gets it', async () => {
    await using storage = await open()
    expect(await winners((index) => storage.users.create(user({ id: `u${index}` })))).toBe(1)
  })

  test('of many users that are made at once those are left out whose name is taken, before or among them', async () => {
    await using storage = await open()
    await storage.users.create(user({ id: 'u0', usernameKey: 'n7' }), entry('a0'))
    const many = Array.from({ length: 250 }, (_, index) => user({ id: `m${index}`, usernameKey: `n${index === 201 ? 3 : index}` }))
    const created = await storage.users.createMany(many, entry('a1'))
    expect([created.size, created.has('m7'), created.has('m201'), created.has('m249')]).toEqual([248, false, false, true])
    expect(await storage.users.createMany(many, entry('a2'))).toEqual(new Set())
    expect(await storage.users.createMany([], entry('a3'))).toEqual(new Set())
    expect(await storage.users.findByUsernameKey('n249')).toEqual(many[249])
    expect((await storage.audit.list({ userId: null, type: null, limit: 9, before: null })).map(({ id }) => id)).toEqual(['a1', 'a0'])
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
    expect((await storage.sessions.list('u1', 1005)).map(({ id }) => id)).toEqual(['s4', 's2'])
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
    expect(await storage.sessions.list('u2', 2000)).toEqual([])
  })

  test('ST-5: the schema of a fresh store is neither behind nor ahead', async () => {
    await using storage = await open()
    expect(await storage.schema()).toEqual({ pending: [], newer: [] })
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

  test('of 20 that sign in at once where two sessions are allowed, two stay', async () => {
    await using storage = await open()
    await storage.users.create(user())
    const start = (index: number) =>
      storage.sessions.start(session({ id: `s${index}`, createdAt: 1000 + index }), { replaces: null, maxPerUser: 2 })
    expect(await winners(start)).toBe(RACERS)
    expect(await storage.sessions.list('u1', 1500)).toHaveLength(2)
  })

  test('lists go by bytes: upper before lower case, and letters beyond ASCII after them', async () => {
    await using storage = await open()
    const keys = ['a-b', 'aB', 'a_b', 'ab', 'aé', 'aü', 'a日', 'a\u{1f600}']
    for (const [index, key] of keys.toReversed().entries()) await storage.users.create(user({ id: `u${index}`, usernameKey: key }))
    const found = await storage.users.list({ search: 'a', limit: 100, after: null })
    expect(found.map(({ usernameKey }) => usernameKey)).toEqual(keys)
  })

  test('entries are counted by whole spans of time', async () => {
    await using storage = await open()
    for (const [index, at] of [100, 109, 110, 125, 99].entries()) await storage.audit.append(entry(`a${index}`, { at }))
    expect(await storage.audit.count('t', 100, 10)).toEqual(
      new Map([
        [0, 2],
        [1, 1],
        [2, 1],
      ]),
    )
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
    expect((await storage.sessions.list('u1', 2000)).map(({ id }) => id)).toEqual(['s2'])
    expect(await storage.sessions.endAll('u1', null, 2000)).toBe(1)
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

  test('a purge removes at most its limit, and only what expired before', async () => {
    await using storage = await open()
    await storage.users.create(user())
    for (let i = 0; i < 5; i += 1) await storage.sessions.start(session({ id: `s${i}`, expiresAt: 2000 + i }), LIMITS)
    expect(await storage.sessions.purge(2004, 3)).toBe(3)
    expect(await storage.sessions.purge(2004, 3)).toBe(1)
    expect(await storage.sessions.find(hash('s4'))).not.toBe(null)
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

  test('AU-3: an entry is written with its change and not without, listed newest first, and loses a deleted user’s addresses', async () => {
    await using storage = await open()
    await storage.users.create(user(), entry('a1'))
    await storage.users.create(user(), entry('a2'))
    await storage.users.update('u9', {}, entry('a3'))
    await storage.users.update('u1', { name: 'N' }, entry('a4', { actorId: 'boss' }))
    await storage.sessions.start(session(), { ...LIMITS, entry: entry('a5', { type: 'login' }) })
    await storage.sessions.end('s1', 'u1', 2000, entry('a6'))
    await storage.sessions.end('s1', 'u1', 2000, entry('a7'))
    await storage.sessions.endAll('u1', null, 2000, entry('a8'))
    await storage.audit.append(entry('a9', { actorId: null, subjectId: null }))
    const ids = async (filter = {}) =>
      (await storage.audit.list({ userId: null, type: null, limit: 10, before: null, ...filter })).map(({ id }) => id)
    expect(await ids()).toEqual(['a9', 'a6', 'a5', 'a4', 'a1'])
    expect(await ids({ userId: 'boss' })).toEqual(['a4'])
    expect(await ids({ type: 'login' })).toEqual(['a5'])
    expect(await ids({ limit: 2, before: 'a6' })).toEqual(['a5', 'a4'])
    await storage.users.delete('u1', entry('b0', { actorId: 'boss' }))
    const addresses = (await storage.audit.list({ userId: null, type: null, limit: 10, before: null })).map(({ id, address }) => [
      id,
      address,
    ])
    expect(new Map(addresses as [string, string | null][])).toEqual(
      new Map([
        ['b0', '::1'],
        ['a9', '::1'],
        ['a6', null],
        ['a5', null],
        ['a4', '::1'],
        ['a1', null],
      ]),
    )
    expect(await storage.audit.purge(5, 10)).toBe(0)
    expect(await storage.audit.purge(6, 2)).toBe(2)
  })

  test('a healthy store passes its check, and nothing is left to migrate', async () => {
    await using storage = await open()
    await storage.check()
    expect(await storage.migrate()).toEqual([])
  })

  test('a closed store fails with unavailable, and with nothing else', async () => {
    await using storage = await open()
    await storage.close()
    await expect(storage.users.findById('u1')).rejects.toMatchObject({ reason: 'unavailable' })
    await expect(storage.sessions.find(hash('s1'))).rejects.toMatchObject({ reason: 'unavailable' })
    await expect(storage.sessions.start(session(), LIMITS)).rejects.toMatchObject({ reason: 'unavailable' })
    await storage.close()
  })

  test('RL-3: of 20 that count at once, each sees another count', async () => {
    await using storage = await open()
    const seen: number[] = []
    await winners((index) =>
      storage.attempts.change(['k', `other${index}`], (current) => {
        const count = current.get('k')?.count ?? 0
        seen[index] = count
        return new Map([['k', { count: count + 1, blockedUntil: 7, expiresAt: 9 }]])
      }),
    )
    expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: RACERS }, (_, index) => index))
  })

  test('counters come back as written, go when told to, and are removed once expired', async () => {
    await using storage = await open()
    const far = { count: 1, blockedUntil: 0, expiresAt: Number.MAX_SAFE_INTEGER }
    await storage.attempts.change(
      ['a', 'b', 'c'],
      () =>
        new Map([
          ['a', far],
          ['b', far],
          ['c', { ...far, expiresAt: 5 }],
        ]),
    )
    await storage.attempts.change(['b'], () => new Map([['b', null]]))
    expect(await storage.attempts.purge(6, 10)).toBe(1)
    let left: unknown
    await storage.attempts.change(['a', 'b', 'c'], (current) => {
      left = [...current]
      return new Map()
    })
    expect(left).toEqual([['a', far]])
  })

  test('an identity finds its user, and is linked to one user once, whatever the provider is called', async () => {
    await using storage = await open()
    await storage.users.create(user({ email: 'a@example.com', emailVerifiedAt: 1 }))
    await storage.users.create(user({ id: 'u2', usernameKey: 'bob', email: 'b@example.com', emailVerifiedAt: 1 }))
    const proof = { verifiedEmail: 'a@example.com' }
    expect(await storage.identities.findUser('https://issuer', 'sub')).toBe(null)
    expect(await storage.identities.link(identity(), proof, entry('a1'))).toBe(true)
    expect(await storage.identities.link(identity({ id: 'i2', provider: 'other' }), proof, entry('a2'))).toBe(false)
    expect((await storage.identities.findUser('https://issuer', 'sub'))?.id).toBe('u1')
    expect(await storage.identities.findUser('https://other', 'sub')).toBe(null)
    expect(await storage.identities.list('u1')).toEqual([identity()])
    expect(await storage.identities.list('u2')).toEqual([])
    expect((await storage.audit.list(ANY)).map(({ id }) => id)).toEqual(['a1'])
  })

  test('OA-6: an identity is linked only while what proved it still holds', async () => {
    await using storage = await open()
    await storage.users.create(user({ email: 'a@example.com' }))
    await storage.sessions.start(session(), LIMITS)
    const link = (subject: string, proof: LinkProof) => storage.identities.link(identity({ id: subject, subject }), proof, entry(subject))
    expect(await link('unproved', { verifiedEmail: 'a@example.com' })).toBe(false)
    await storage.users.update('u1', { emailVerifiedAt: 5 })
    expect(await link('another', { verifiedEmail: 'b@example.com' })).toBe(false)
    expect(await link('proved', { verifiedEmail: 'a@example.com' })).toBe(true)
    expect(await link('live', { sessionId: 's1', now: 4999 })).toBe(true)
    expect(await link('expired', { sessionId: 's1', now: 5000 })).toBe(false)
    expect(await link('none', { sessionId: 's2', now: 2000 })).toBe(false)
    await storage.sessions.end('s1', 'u1', 2000)
    expect(await link('ended', { sessionId: 's1', now: 2001 })).toBe(false)
    await storage.users.setDisabledAt('u1', 3000, 3000)
    expect(await link('disabled', { verifiedEmail: 'a@example.com' })).toBe(false)
    expect((await storage.identities.list('u1')).map(({ subject }) => subject)).toEqual(['live', 'proved'])
  })

  test('a user comes with an identity or not at all, and the answer says what was taken', async () => {
    await using storage = await open()
    const entries = { created: entry('a1'), released: (id: string) => entry(`released ${id}`) }
    const create = (u: Partial<User>, i: Partial<Identity> = {}) =>
      storage.identities.createUser(user(u), identity({ userId: u.id ?? 'u1', ...i }), entries)
    expect(await create({ email: 'a@example.com', emailVerifiedAt: 1 })).toBe('created')
    expect(await create({ id: 'u2', usernameKey: 'bob' }, { id: 'i2' })).toBe('identity_taken')
    expect(await create({ id: 'u2' }, { id: 'i2', subject: 'x' })).toBe('username_taken')
    expect(await create({ id: 'u2', usernameKey: 'bob', email: 'a@example.com', emailVerifiedAt: 1 }, { id: 'i2', subject: 'x' })).toBe(
      'email_taken',
    )
    expect(await storage.users.findById('u2')).toBe(null)
    expect((await storage.audit.list(ANY)).map(({ id }) => id)).toEqual(['a1'])
  })

  test('OA-7: whoever claims an address that another proves loses the claim and the resets, and nobody else does', async () => {
    await using storage = await open()
    await storage.users.create(user({ email: 'a@example.com' }))
    await storage.users.create(user({ id: 'u2', usernameKey: 'bob', email: 'b@example.com' }))
    for (const id of ['u1', 'u2']) await storage.users.startReset({ tokenHash: hash(id), userId: id, expiresAt: 100 })
    const made = user({ id: 'u3', usernameKey: 'eve', email: 'a@example.com', emailVerifiedAt: 1 })
    const entries = { created: entry('a1'), released: (id: string) => entry(`released ${id}`) }
    expect(await storage.identities.createUser(made, identity({ userId: 'u3' }), entries)).toBe('created')
    expect(await storage.users.findById('u1')).toMatchObject({ email: null, passwordHash: '$argon2id$x' })
    expect(await storage.users.findById('u2')).toMatchObject({ email: 'b@example.com' })
    expect(await storage.users.findReset(hash('u1'), 50)).toBe(null)
    expect((await storage.users.findReset(hash('u2'), 50))?.id).toBe('u2')
    expect((await storage.audit.list(ANY)).map(({ id }) => id)).toEqual(['released u1', 'a1'])
  })

  test('OA-5: of 20 that make a user for one identity at once, one does', async () => {
    await using storage = await open()
    const entries = { created: entry('a1'), released: (id: string) => entry(id) }
    const answers = await Promise.all(
      Array.from({ length: RACERS }, (_, i) =>
        storage.identities.createUser(user({ id: `u${i}`, usernameKey: `name${i}` }), identity({ id: `i${i}`, userId: `u${i}` }), entries),
      ),
    )
    expect(answers.filter((answer) => answer === 'created')).toHaveLength(1)
    expect(answers.filter((answer) => answer === 'identity_taken')).toHaveLength(RACERS - 1)
    expect(await storage.users.list({ search: null, limit: 100, after: null })).toHaveLength(1)
  })

  test('OA-10: of 20 that unlink the last two ways to sign in at once, one does, and a password is a way too', async () => {
    await using storage = await open()
    await storage.users.create(user({ passwordHash: null, email: 'a@example.com', emailVerifiedAt: 1 }))
    for (const id of ['i1', 'i2'])
      await storage.identities.link(identity({ id, subject: id }), { verifiedEmail: 'a@example.com' }, entry(id))
    const unlink = (id: string) => storage.identities.unlink(id, 'u1', entry(`unlinked ${id}`))
    const answers = await Promise.all(Array.from({ length: RACERS }, (_, index) => unlink(index % 2 === 0 ? 'i1' : 'i2')))
    expect(answers.filter((answer) => answer === true)).toHaveLength(1)
    const [left] = await storage.identities.list('u1')
    expect(await unlink(left?.id ?? '')).toBe('last_way')
    expect(await storage.identities.unlink(left?.id ?? '', 'u2', entry('x'))).toBe(false)
    await storage.users.setPassword('u1', { epoch: 0, passwordHash: 'h', now: 5, keep: null })
    expect(await unlink(left?.id ?? '')).toBe(true)
  })

  test('OA-2: a transaction is taken once, with its own binding alone', async () => {
    await using storage = await open()
    const begun = transaction({ loopbackPort: 4711 })
    await storage.transactions.put(begun)
    expect(await storage.transactions.find(hash('state'))).toEqual(begun)
    expect(await storage.transactions.take(hash('state'), hash('other browser'))).toBe(null)
    expect(await storage.transactions.take(hash('other state'), hash('binding'))).toBe(null)
    expect(await winners(() => storage.transactions.take(hash('state'), hash('binding')))).toBe(1)
    expect(await storage.transactions.find(hash('state'))).toBe(null)
  })

  test('LO-2: a password change, a reset, disabling and deletion void the sign-ins that the user began', async () => {
    await using storage = await open()
    const enders: ((id: string) => Promise<unknown>)[] = [
      (id) => storage.users.setPassword(id, { epoch: 0, passwordHash: 'h', now: 5, keep: null }),
      (id) => storage.users.setDisabledAt(id, 5, 5),
      (id) => storage.users.delete(id),
      (id) => storage.users.finishReset(hash(id), { passwordHash: 'h', now: 5 }),
    ]
    for (const [index, end] of enders.entries()) {
      const id = `u${index}`
      await storage.users.create(user({ id, usernameKey: id }))
      await storage.users.startReset({ tokenHash: hash(id), userId: id, expiresAt: 100 })
      await storage.transactions.put(transaction({ stateHash: hash(`of ${id}`), userId: id }))
      expect(await end(id)).toBeTruthy()
      expect(await storage.transactions.find(hash(`of ${id}`))).toBe(null)
    }
  })

  test('transactions past their time are removed in batches, others stay', async () => {
    await using storage = await open()
    for (let i = 0; i < 5; i += 1) await storage.transactions.put(transaction({ stateHash: hash(String(i)), expiresAt: i * 10 }))
    expect(await storage.transactions.purge(40, 3)).toBe(3)
    expect(await storage.transactions.purge(40, 3)).toBe(1)
    expect(await storage.transactions.find(hash('4'))).not.toBe(null)
  })
}
