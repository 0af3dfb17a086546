import { DatabaseSync } from 'node:sqlite'
import type { Storage } from '@trpc-login/server'
import { expect, test, vi } from 'vitest'
import { cookieOf, HOUR, MINUTE, PASSWORD, startServer } from '../support/server.ts'

type Methods = Record<string, (...args: never[]) => unknown>

/** A server that does something else at the very moment before an act is written, as others may while a password is hashed. */
async function startInterrupted() {
  const before: { act: (() => unknown) | null } = { act: null }
  const count = { finds: 0 }
  const interrupted = <T extends object>(store: T, names: readonly string[]): T => {
    const methods = names.map((name) => {
      const method = (store as unknown as Methods)[name]
      return [
        name,
        async (...args: never[]) => {
          const { act } = before
          before.act = null
          await act?.()
          return method?.(...args)
        },
      ] as const
    })
    return { ...store, ...Object.fromEntries(methods) }
  }
  const server = await startServer({
    password: { atOnce: 1 },
    wrapStorage: (storage: Storage) => ({
      ...storage,
      users: interrupted(storage.users, ['create', 'update', 'setPassword', 'setDisabledAt', 'delete', 'startReset']),
      sessions: {
        ...interrupted(storage.sessions, ['rotate', 'end', 'endAll']),
        find: (hash) => ((count.finds += 1), storage.sessions.find(hash)),
      },
      identities: interrupted(storage.identities, ['unlink']),
    }),
  })
  return { server, before, count }
}

type Subject = { id: string; sessionId: string }

/** Whom a procedure is called by, and with what; `bob` is done to. */
const ACTS: Readonly<Record<string, (bob: Subject, own: Subject) => unknown>> = {
  'auth.changePassword': () => ({ currentPassword: PASSWORD, newPassword: `${PASSWORD} more` }),
  'auth.reauthenticate': () => ({ password: PASSWORD }),
  'auth.account.delete': () => ({ password: PASSWORD }),
  'auth.account.update': () => ({ name: 'Other' }),
  'auth.sessions.revoke': (_bob, own) => ({ id: own.sessionId }),
  'auth.sessions.revokeOthers': () => undefined,
  'auth.oauth.unlink': () => ({ id: 'i1' }),
  'auth.users.create': () => ({ username: 'new', password: PASSWORD }),
  'auth.users.update': ({ id }) => ({ id, roles: ['admin'] }),
  'auth.users.disable': ({ id }) => ({ id }),
  'auth.users.enable': ({ id }) => ({ id }),
  'auth.users.delete': ({ id }) => ({ id }),
  'auth.users.startPasswordReset': ({ id }) => ({ id }),
  'auth.users.revokeSessions': ({ id }) => ({ id }),
}
const FOR_ADMINS = /^auth\.users\./
// What stands in the queue of hashes between guard and write, so that time goes by.
const WAITING = new Set(['auth.changePassword', 'auth.reauthenticate', 'auth.account.delete', 'auth.users.create'])
const FRESH = new Set(['auth.account.delete', 'auth.users.create'])

const LOSSES = {
  revoked: { reason: 'session_ended', holdsFor: () => true },
  disabled: { reason: 'session_ended', holdsFor: () => true },
  expired: { reason: 'session_ended', holdsFor: (path: string) => WAITING.has(path) },
  'role taken': { reason: 'forbidden', holdsFor: (path: string) => FOR_ADMINS.test(path) },
  'no longer fresh': { reason: 'reauthentication_required', holdsFor: (path: string) => FRESH.has(path) },
} as const

test('LO-4 C0.9: what an act needs is asked again when it is written, whatever it has waited for', async () => {
  const { server, before, count } = await startInterrupted()
  await using _ = server
  const { auth, clock } = server
  await server.addUser({ username: 'second', roles: ['admin'] })
  const table: Record<string, string> = {}
  let n = 0

  /** Lets time go by after the guard, while hashes that came before are computed. */
  async function callInQueue(call: () => ReturnType<typeof server.post>, ms: number) {
    const others = Array.from({ length: 6 }, (_, index) => server.post('auth.login', { username: `nobody${index}`, password: 'x' }))
    const seen = count.finds
    const calling = call()
    await vi.waitFor(() => expect(count.finds).toBeGreaterThan(seen), { interval: 1 })
    clock.advance(ms)
    await Promise.all(others)
    return calling
  }
  for (const [loss, { reason, holdsFor }] of Object.entries(LOSSES)) {
    for (const [path, input] of Object.entries(ACTS)) {
      if (!holdsFor(path)) continue
      n += 1
      const actor = await server.addUser({ username: `actor${n}`, roles: ['admin'] })
      const bob = await server.addUser({ username: `bob${n}` })
      const cookie = cookieOf((await server.post('auth.login', { username: `actor${n}`, password: PASSWORD })).headers)
      const [session] = await auth.sessions.list(actor.id)
      const own = { id: actor.id, sessionId: session?.id ?? '' }
      await auth.storage.identities.link(
        { id: 'i1', userId: actor.id, provider: 'x', issuer: 'https://issuer', subject: `s${n}`, email: null, createdAt: clock.now() },
        { sessionId: own.sessionId, now: clock.now() },
        { ...auth.audit.entry('identity_linked', { actorId: actor.id, address: null }, actor.id), id: `l${n}` },
      )
      const call = () => server.post(path, input({ id: bob.id, sessionId: '' }, own) ?? '', { cookie })
      const time = { expired: 2 * HOUR, 'no longer fresh': 16 * MINUTE }[loss]
      before.act =
        {
          revoked: () => auth.sessions.revokeAll(actor.id),
          disabled: () => auth.users.disable(actor.id),
          'role taken': () => auth.users.update(actor.id, { roles: [] }),
        }[loss] ?? null
      const { body, headers, status } = time === undefined ? await call() : await callInQueue(call, time)
      expect([loss, path, body.error?.data.reason, headers.getSetCookie()]).toEqual([loss, path, reason, []])
      table[`${loss}: ${status} ${reason}`] = `${table[`${loss}: ${status} ${reason}`] ?? ''} ${path.slice('auth.'.length)}`.trim()

      const after = await auth.users.get(actor.id)
      expect([after.name, after.roles, after.passwordHash === actor.passwordHash]).toEqual([
        null,
        loss === 'role taken' ? [] : ['admin'],
        true,
      ])
      const bobAfter = await auth.users.get(bob.id)
      expect([bobAfter.disabledAt, bobAfter.roles, bobAfter.epoch]).toEqual([null, [], 0])
      expect(await auth.storage.identities.findUser('https://issuer', `s${n}`)).not.toBe(null)
      expect(await auth.users.findByUsername('new')).toBe(null)
      await auth.users.delete(actor.id)
      await auth.users.delete(bob.id)
    }
  }
  console.log(table)
})

test('AD-4 LO-4: a demoted administrator does not give the role back, by calls that were on their way either', async () => {
  await using server = await startServer()
  const root = await server.addUser({ username: 'root', roles: ['admin'] })
  const boss = await server.addUser({ username: 'boss', roles: ['admin'] })
  const [one, other] = [await server.signIn('root'), await server.signIn('boss')]
  await Promise.allSettled([
    ...Array.from({ length: 10 }, () => one.api.auth.users.update.mutate({ id: boss.id, roles: [] })),
    ...Array.from({ length: 10 }, () => other.api.auth.users.update.mutate({ id: root.id, roles: [] })),
    ...Array.from({ length: 10 }, () => one.api.auth.users.update.mutate({ id: root.id, roles: ['admin'] })),
    ...Array.from({ length: 10 }, () => other.api.auth.users.update.mutate({ id: boss.id, roles: ['admin'] })),
  ])
  const admins = (await server.auth.users.list({})).items.filter(({ roles }) => roles.includes('admin'))
  expect(admins).toHaveLength(1)
})

test('ST-1: a sign-up that fails leaves no account behind, and can be done again', async () => {
  await using server = await startServer({ registration: 'open' })
  const db = new DatabaseSync(server.file)
  db.exec("create trigger full before insert on sessions begin select raise(abort, 'the disk is full'); end")
  const register = () => server.post('auth.register', { username: 'eve', password: PASSWORD })
  const failed = await register()
  expect([failed.status, failed.body.error?.data.reason, failed.headers.getSetCookie()]).toEqual([503, 'unavailable', []])
  expect(await server.auth.users.findByUsername('eve')).toBe(null)
  expect((await server.auth.audit.list({ type: 'user_created' })).items).toHaveLength(2)
  db.exec('drop trigger full')
  db.close()
  expect((await register()).status).toBe(200)
  expect((await register()).body.error?.data.reason).toBe('conflict')
})

test('AU-3: confirming a password is in the audit log', async () => {
  await using server = await startServer()
  const { api, session } = await server.signIn()
  await api.auth.reauthenticate.mutate({ password: PASSWORD })
  const id = session.current?.user.id
  const detail = { sessionId: session.current?.session.id, reauthentication: true }
  expect((await server.auth.audit.list({ limit: 1 })).items).toMatchObject([
    { type: 'authn_login_success', actorId: id, subjectId: id, detail },
  ])
})
