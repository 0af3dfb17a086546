import { expect, test } from 'vitest'
import {
  ANY,
  entry,
  hash,
  type Identity,
  identity,
  LIMITS,
  type LinkProof,
  type Open,
  RACERS,
  session,
  transaction,
  type User,
  user,
  winners,
} from './records.ts'

export function identityTests(open: Open): void {
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
    expect(await storage.identities.list(['u1'])).toEqual([identity()])
    expect(await storage.identities.list(['u2'])).toEqual([])
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
    expect((await storage.identities.list(['u1'])).map(({ subject }) => subject)).toEqual(['live', 'proved'])
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
    const [left] = await storage.identities.list(['u1'])
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
