import { createHash } from 'node:crypto'
import type { Storage } from '@trpc-login/server'
import { expect, test } from 'vitest'
import { entry, hash, identity, LIMITS, type Open, session, transaction, user } from './records.ts'

type Act = (storage: Storage) => Promise<unknown>

const PASSWORD_CHANGE = { epoch: 0, passwordHash: 'new', now: 2000, keep: null }
const PROOF = { sessionId: 's1', now: 2000 }

/** Whom each write concerns; `u1` has the session `s1`, the identity `i1` and a reset, `u2` nothing. */
const ANNOUNCED: Readonly<Record<string, { act: Act; to: readonly string[] | 'everyone' }>> = {
  'a session begins': { act: ({ sessions }) => sessions.start(session({ id: 's2' }), LIMITS), to: ['u1'] },
  'a session begins in place of another user’s': {
    act: ({ sessions }) => sessions.start(session({ id: 's2', userId: 'u2' }), { ...LIMITS, replaces: hash('s1') }),
    to: ['u1', 'u2'],
  },
  'a session ends': { act: ({ sessions }) => sessions.end('s1', 'u1', 2000), to: ['u1'] },
  'all sessions of a user end': { act: ({ sessions }) => sessions.endAll('u1', null, 2000), to: ['u1'] },
  'all sessions of everyone end': { act: ({ sessions }) => sessions.endAll(null, null, 2000), to: 'everyone' },
  'a token is replaced': {
    act: ({ sessions }) => sessions.rotate('s1', { from: hash('s1'), to: hash('x'), authenticatedAt: 2000 }),
    to: ['u1'],
  },
  'a name changes': { act: ({ users }) => users.update('u1', { name: 'Countess' }), to: ['u1'] },
  'roles change': { act: ({ users }) => users.update('u1', { roles: [] }), to: ['u1'] },
  'a password changes': { act: ({ users }) => users.setPassword('u1', PASSWORD_CHANGE), to: ['u1'] },
  'a hash becomes a better one': { act: ({ users }) => users.rehash('u1', { from: '$argon2id$x', to: 'better' }), to: ['u1'] },
  'a reset is used': { act: ({ users }) => users.finishReset(hash('reset'), { passwordHash: 'new', now: 2000 }), to: ['u1'] },
  'a user is disabled': { act: ({ users }) => users.setDisabledAt('u1', 2000, 2000), to: ['u1'] },
  'a user is deleted': { act: ({ users }) => users.delete('u1'), to: ['u1'] },
  'an identity is linked': {
    act: ({ identities }) => identities.link(identity({ id: 'i2', subject: 'other' }), PROOF, entry('a1')),
    to: ['u1'],
  },
  'an identity is unlinked': { act: ({ identities }) => identities.unlink('i1', 'u1', entry('a1')), to: ['u1'] },
  'an unproved claim to an address is lost': {
    act: ({ identities }) =>
      identities.createUser(
        user({ id: 'u3', usernameKey: 'eve', email: 'claimed@example.com', emailVerifiedAt: 5 }),
        identity({ id: 'i3', userId: 'u3', subject: 'eve' }),
        { created: entry('a1'), released: () => entry('a2') },
      ),
    to: ['u2'],
  },
}

const SILENT: Readonly<Record<string, Act>> = {
  'a read': ({ users }) => users.findById('u1'),
  'a counter': ({ attempts }) => attempts.change(['k'], () => new Map([['k', { count: 1, blockedUntil: 0, expiresAt: 9000 }]])),
  'a line of the log': ({ audit }) => audit.append(entry('a1')),
  'a last use': ({ sessions }) => sessions.extend([{ id: 's1', lastSeenAt: 2000, expiresAt: 6000 }], 2000),
  'what has expired by itself': ({ sessions }) => sessions.expire(['s1'], 6000),
  'a user who begins': ({ users }) => users.create(user({ id: 'u3', usernameKey: 'eve' })),
  'a user whose name is taken': ({ users }) => users.create(user({ id: 'u3' })),
  'a sign-in with a provider that begins': ({ transactions }) => transactions.put(transaction()),
  'a reset that begins': ({ users }) => users.startReset({ tokenHash: hash('r2'), userId: 'u1', expiresAt: 9000 }),
  'an end of what has ended': async ({ sessions }) => sessions.end('none', 'u1', 2000),
  'a session that may not begin': ({ sessions }) => sessions.start(session({ id: 's2', userEpoch: 7 }), LIMITS),
  'a password change that came too late': ({ users }) => users.setPassword('u1', { ...PASSWORD_CHANGE, epoch: 7 }),
  'a rotation that came too late': ({ sessions }) => sessions.rotate('s1', { from: hash('none'), to: hash('x'), authenticatedAt: 2000 }),
  'a transaction that comes to nothing': async ({ sessions }) => {
    // Its first statements end the session that it replaces; the id, taken, undoes them.
    const began = sessions.start(session({ id: 's1', tokenHash: hash('other') }), { ...LIMITS, replaces: hash('none') })
    await expect(began).rejects.toMatchObject({ reason: 'unavailable' })
  },
}

async function openFilled(open: Open) {
  const storage = await open()
  await storage.users.create(user())
  await storage.users.create(user({ id: 'u2', usernameKey: 'bob', email: 'claimed@example.com' }))
  await storage.sessions.start(session(), LIMITS)
  await storage.identities.link(identity(), PROOF, entry('a0'))
  await storage.users.startReset({ tokenHash: hash('reset'), userId: 'u1', expiresAt: 9000 })
  return storage
}

const bucketOf = (userId: string) => createHash('sha256').update(userId).digest()[0] as number

export function announcementTests(open: Open): void {
  test.each(Object.entries(ANNOUNCED))(
    'LO-6: where %s, those whom it concerns are announced, and nobody else',
    async (_name, { act, to }) => {
      await using storage = await openFilled(open)
      const before = await storage.changes(null)
      await act(storage)
      const after = await storage.changes(before)
      const moved = after.counts.flatMap((n, bucket) => (n === before.counts[bucket] ? [] : [bucket]))
      const expected = to === 'everyone' ? Array.from({ length: 256 }, (_, bucket) => bucket) : to.map(bucketOf).toSorted((a, b) => a - b)
      expect(moved).toEqual(expected)
      expect(await storage.changes(after)).toBe(after)
    },
  )

  test.each(Object.entries(SILENT))('%s announces nothing', async (_name, act) => {
    await using storage = await openFilled(open)
    const before = await storage.changes(null)
    await act(storage)
    expect((await storage.changes(before)).counts).toEqual(before.counts)
  })

  test('what many announce at once is all counted, and nobody waits in a circle', async () => {
    await using storage = await openFilled(open)
    const before = await storage.changes(null)
    const acts = Array.from({ length: 20 }, (_, n) => [
      storage.sessions.start(session({ id: `n${n}` }), LIMITS),
      storage.sessions.start(session({ id: `m${n}`, userId: 'u2' }), { ...LIMITS, replaces: hash(`n${n}`) }),
      ...(n % 5 === 0 ? [storage.sessions.endAll(null, null, 2000)] : []),
    ])
    await Promise.all(acts.flat())
    const after = await storage.changes(before)
    for (const id of ['u1', 'u2']) expect(after.counts[bucketOf(id)]).toBeGreaterThan(before.counts[bucketOf(id)] as number)
  })
}
