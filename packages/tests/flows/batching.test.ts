import { createTRPCClient, httpBatchStreamLink } from '@trpc/client'
import { reasonOf } from '@trpc-login/client/node'
import superjson from 'superjson'
import { Agent, fetch as undiciFetch } from 'undici'
import { expect, test } from 'vitest'
import { type AppRouter, cookieOf, PASSWORD, startServer } from '../support/server.ts'

/** A server that counts how often the store is asked for a session. */
async function startCounting() {
  const count = { finds: 0 }
  const server = await startServer({
    wrapStorage: (storage) => ({
      ...storage,
      sessions: { ...storage.sessions, find: (hash) => ((count.finds += 1), storage.sessions.find(hash)) },
    }),
  })
  return { server, count }
}

test('LO-4: guards one after the other look the session up once, but for one that comes after a wait', async () => {
  const { server, count } = await startCounting()
  await using _ = server
  const { api } = await server.signIn()
  const { user } = (await api.auth.me.query()) ?? {}
  await server.auth.users.update(user?.id ?? '', { roles: ['admin'] })
  await server.addUser({ username: 'root', roles: ['admin'] })
  const lookUps: number[] = []
  for (let n = 0; n < 5; n += 1) {
    count.finds = 0
    expect(await api.stacked.query()).toBe('ada')
    lookUps.push(count.finds)
  }
  // A machine that is busy may take its time between two guards, and then the second one asks itself.
  expect(Math.min(...lookUps)).toBe(1)
  count.finds = 0
  expect(await api.waitsBetween.mutate().catch(reasonOf)).toBe('forbidden')
  expect(count.finds).toBe(2)
})

const batchOf = (path: string, calls: number) => `/api/${Array.from({ length: calls }, () => path).join(',')}?batch=1`

test('50 guarded calls in batches of 10 look the session up 5 times, a public call never', async () => {
  const { server, count } = await startCounting()
  await using _ = server
  const { api } = await server.signIn()
  count.finds = 0
  for (let i = 0; i < 5; i += 1) {
    const answers = await Promise.all(Array.from({ length: 10 }, () => api.guarded.query()))
    expect(answers).toEqual(Array.from({ length: 10 }, () => 'ada'))
  }
  expect(count.finds).toBe(5)
  await api.open.query()
  await api.notauthFunc.mutate({})
  expect(count.finds).toBe(5)
})

test('RL-4 IN-1: 200 logins in one batch are refused whole, and none is evaluated', async () => {
  await using server = await startServer()
  const body = JSON.stringify(
    Object.fromEntries(Array.from({ length: 200 }, (_, index) => [index, { username: 'ada', password: PASSWORD }])),
  )
  const response = await server.fetch(batchOf('auth.login', 200), { method: 'POST', body, headers: { 'content-type': 'application/json' } })
  expect(response.status).toBe(400)
  expect(response.headers.getSetCookie()).toEqual([])
  expect(server.lines.filter(({ event }) => event.startsWith('authn'))).toEqual([])
})

test.each(['auth.login', 'auth.logout', 'auth.register', 'auth.reauthenticate', 'auth.changePassword', 'auth.account.delete'])(
  '%s is refused in a batch of several calls, and the others with it',
  async (path) => {
    await using server = await startServer({ registration: 'open' })
    const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
    const response = await server.fetch(`/api/notauthFunc,${path}?batch=1`, {
      method: 'POST',
      body: JSON.stringify({
        0: {},
        1: { username: 'ada', password: PASSWORD, currentPassword: PASSWORD, newPassword: 'another good passphrase' },
      }),
      headers: { 'content-type': 'application/json', cookie },
    })
    expect(response.status).toBe(400)
    expect(response.headers.getSetCookie()).toEqual([])
    expect(JSON.stringify(await response.json())).toContain(`${path} cannot be batched`)
    expect((await server.post('authFunc', {}, { cookie })).status).toBe(200)
  },
)

test('a streamed login is refused with 400 and a message that names the link to use', async () => {
  await using server = await startServer()
  const response = await server.fetch('/api/auth.login?batch=1', {
    method: 'POST',
    body: JSON.stringify({ 0: { username: 'ada', password: PASSWORD } }),
    headers: { 'content-type': 'application/json', 'trpc-accept': 'application/jsonl' },
  })
  expect(response.status).toBe(400)
  expect(await response.text()).toContain('auth.login cannot be streamed; use httpLink or httpBatchLink')
  expect(server.lines).not.toContainEqual(expect.objectContaining({ event: 'authn_login_success' }))
})

test('streamed batches of other calls work with a session', async () => {
  await using server = await startServer()
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const dispatcher = new Agent({ connect: { ca: server.ca } })
  const client = createTRPCClient<AppRouter>({
    links: [
      httpBatchStreamLink({
        url: `${server.url}/api`,
        transformer: superjson,
        headers: { cookie },
        fetch: (url, init) => undiciFetch(url as string, { ...(init as object), dispatcher }) as never,
      }),
    ],
  })
  const [name, open] = await Promise.all([client.guarded.query(), client.open.query()])
  expect([name, open.at]).toEqual(['ada', new Date(0)])
  await dispatcher.destroy()
})

test('a batch of open and guarded calls answers each on its own', async () => {
  await using server = await startServer()
  const response = await server.fetch('/api/open,guarded?batch=1', { headers: { accept: 'application/json' } })
  expect(response.status).toBe(207)
  expect(await response.json()).toMatchObject([
    { result: { data: { at: '1970-01-01T00:00:00.000Z' } } },
    { error: { data: { reason: 'not_signed_in' } } },
  ])
})
