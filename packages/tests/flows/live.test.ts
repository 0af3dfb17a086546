import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { reasonOf } from '@trpc-login/client/node'
import { expect, test, vi } from 'vitest'
import { cookieOf, DAY, HOUR, openStreams, PASSWORD, startServer, type TestServer } from '../support/server.ts'

type Client = Awaited<ReturnType<TestServer['signIn']>>
type Stream = 'waits' | 'waitsAsAdmin' | 'observes'

/** Opens a stream, and answers its end: the reason and how many milliseconds after `act` it came. */
async function open({ api }: Client, name: Stream = 'waits') {
  const started = Promise.withResolvers<void>()
  const ended = Promise.withResolvers<{ reason: string | null; at: number }>()
  const subscription = api[name].subscribe(undefined, {
    onData: () => started.resolve(),
    onComplete: () => ended.resolve({ reason: null, at: Date.now() }),
    onError: (error) => ended.resolve({ reason: reasonOf(error), at: Date.now() }),
  })
  await started.promise
  return {
    ...subscription,
    /** The reason with which it ends, within a second of an act, which may tell by itself when it was done. */
    async endAfter(act: () => unknown) {
      const began = Date.now()
      const done = await act()
      const from = typeof done === 'object' && done !== null && 'doneAt' in done ? Number(done.doneAt) : began
      const { reason, at } = await ended.promise
      expect(at - from).toBeLessThan(1000)
      return reason
    },
  }
}

const ENDINGS: Record<string, (server: TestServer, client: Client, userId: string) => unknown> = {
  'its own logout': async (_server, { api }) => api.auth.logout.mutate(),
  'revocation of the session': async (server, _client, userId) => server.auth.sessions.revokeAll(userId),
  'disabling the user': async (server, _client, userId) => server.auth.users.disable(userId),
  'deleting the user': async (server, _client, userId) => server.auth.users.delete(userId),
  'the idle limit': (server) => server.clock.advance(HOUR),
  'a password change elsewhere': async (server) => {
    const { api } = await server.signIn()
    await api.auth.changePassword.mutate({ currentPassword: PASSWORD, newPassword: 'another horse battery' })
  },
}

test.each(Object.entries(ENDINGS))('LO-6: a guarded stream ends within a second of %s', async (_name, act) => {
  await using server = await startServer()
  const client = await server.signIn()
  const userId = client.session.current?.user.id ?? ''
  const generator = await open(client)
  const observed = await open(client, 'observes')
  const reasons = await Promise.all([generator.endAfter(() => act(server, client, userId)), observed.endAfter(() => {})])
  expect(reasons).toEqual(['session_ended', 'session_ended'])
  await vi.waitFor(() => expect(openStreams).toEqual({ generators: 0, observables: 0 }))
})

test('LO-6: a query that answers with a stream ends with the session too', async () => {
  await using server = await startServer()
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const response = await server.fetch('/api/streams?batch=1', { headers: { cookie, 'trpc-accept': 'application/jsonl' } })
  const ended = response.text()
  await vi.waitFor(() => expect(openStreams.generators).toBe(1))
  await server.auth.sessions.revokeAll((await server.auth.users.findByUsername('ada'))?.id ?? '')
  expect(await ended).toContain('"reason":"session_ended"')
  await vi.waitFor(() => expect(openStreams).toEqual({ generators: 0, observables: 0 }))
})

test('LO-6: a stream ends within a second of a revocation by another process', async () => {
  await using server = await startServer()
  const client = await server.signIn()
  const stream = await open(client)
  const revoke = `
    import { createAuth, sqliteStorage, silentLog } from '@trpc-login/server'
    const auth = createAuth({ storage: sqliteStorage({ path: process.argv[1] }), log: silentLog })
    console.log(JSON.stringify({ revoked: await auth.sessions.revokeAll(process.argv[2]), at: Date.now() }))
    await auth.close()`
  const args = ['--conditions=@trpc-login/source', '--input-type=module', '-e', revoke, server.file, client.session.current?.user.id ?? '']
  let revoked = 0
  const reason = await stream
    .endAfter(async () => {
      const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: import.meta.dirname })
      const told = JSON.parse(stdout) as { revoked: number; at: number }
      revoked = told.revoked
      return { doneAt: told.at }
    })
    .catch((error: unknown) => error)
  expect(revoked).toBe(1)
  expect(reason).toBe('session_ended')
})

test('LO-4: a stream for a role ends when the role is lost, with the reason that says so', async () => {
  await using server = await startServer()
  await server.addUser({ username: 'root', roles: ['admin'] })
  const user = await server.addUser({ username: 'eve', roles: ['admin'] })
  const client = await server.signIn('eve')
  const stream = await open(client, 'waitsAsAdmin')
  const plain = await open(client)
  const reason = await stream.endAfter(() => server.auth.users.update(user.id, { roles: [] }))
  expect(reason).toBe('forbidden')
  expect(client.session.state.status).toBe('signed_in')
  plain.unsubscribe()
})

test('the client’s session is told by the stream that it has ended', async () => {
  await using server = await startServer()
  const client = await server.signIn()
  const stream = await open(client)
  const states: string[] = []
  client.session.subscribe(({ status }) => void states.push(status))
  await stream.endAfter(() => server.auth.sessions.revokeAll(client.session.current?.user.id ?? ''))
  expect(states).toEqual(['ended'])
})

test('an open stream does not keep an idle session alive, and one that is used otherwise goes on', async () => {
  await using server = await startServer()
  const idle = await server.signIn('ada')
  const used = await server.signIn('bob')
  const [idleStream, usedStream] = [await open(idle), await open(used)]
  server.clock.advance(0.9 * HOUR)
  expect(await used.api.guarded.query()).toBe('bob')
  expect(await idleStream.endAfter(() => server.clock.advance(0.2 * HOUR))).toBe('session_ended')
  expect(await used.api.guarded.query()).toBe('bob')
  usedStream.unsubscribe()
  await vi.waitFor(() => expect(openStreams.generators).toBe(0))
})

test('events tell of sign-ins, revocations and changes of the account, and at last of the session’s own end', async () => {
  await using server = await startServer()
  const client = await server.signIn()
  const ended = Promise.withResolvers<string | null>()
  const seen: string[] = []
  client.api.auth.events.subscribe(undefined, {
    onData: ({ type, at }) => {
      expect(at).toEqual(new Date(server.clock.now()))
      seen.push(type)
    },
    onError: (error) => ended.resolve(reasonOf(error)),
  })
  const other = await server.signIn()
  await vi.waitFor(() => expect(seen).toEqual(['signed_in']))
  await client.api.auth.account.update.mutate({ name: 'Ada' })
  await vi.waitFor(() => expect(seen).toEqual(['signed_in', 'account_changed']))
  await other.api.auth.logout.mutate()
  await vi.waitFor(() => expect(seen).toEqual(['signed_in', 'account_changed', 'session_revoked']))
  await server.signIn('bob')
  await server.auth.sessions.revokeAll(client.session.current?.user.id ?? '')
  expect(await ended.promise).toBe('session_ended')
  expect(seen).toEqual(['signed_in', 'account_changed', 'session_revoked', 'session_ended'])
})

test('SS-7: a stream whose session cannot be checked any more ends as unavailable, and its reader stays signed in', async () => {
  let broken = false
  await using server = await startServer({
    wrapStorage: (storage) => ({
      ...storage,
      changes: (known) => (broken ? Promise.reject(new Error('gone')) : storage.changes(known)),
    }),
  })
  const client = await server.signIn()
  const response = await server.fetch('/api/waits', { headers: { cookie: await cookieOfClient(server) } })
  broken = true
  const text = await response.text()
  expect(text).toContain('event: serialized-error')
  expect(text).toContain('"reason":"unavailable"')
  broken = false
  expect(await client.api.guarded.query()).toBe('ada')
})

async function cookieOfClient(server: TestServer) {
  const { headers } = await server.post('auth.login', { username: 'ada', password: PASSWORD })
  return headers.getSetCookie()[0]?.split(';', 1)[0] ?? ''
}

test('SH-1: open streams do not hold up the stop', async () => {
  await using server = await startServer()
  const response = await server.fetch('/api/waits', { headers: { cookie: await cookieOfClient(server) } })
  const reading = response.text().catch(() => 'cut')
  const from = performance.now()
  await server.close()
  expect(performance.now() - from).toBeLessThan(2000)
  expect(await reading).toBe('cut')
  await vi.waitFor(() => expect(openStreams.generators).toBe(0))
})

test('a thousand values pass a guarded stream in order', async () => {
  await using server = await startServer()
  const { api } = await server.signIn('ada', { remember: true })
  server.clock.advance(DAY)
  const seen: number[] = []
  const done = Promise.withResolvers<void>()
  api.counts.subscribe({ to: 1000 }, { onData: (n) => void seen.push(n), onComplete: done.resolve, onError: done.reject })
  await done.promise
  expect(seen).toEqual(Array.from({ length: 1000 }, (_, n) => n))
})
