import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createTRPCClient, httpBatchLink } from '@trpc/client'
import { reasonOf } from '@trpc-login/client/node'
import superjson from 'superjson'
import { Agent, fetch as undiciFetch } from 'undici'
import { expect, test } from 'vitest'
import { type AppRouter, cookieOf, PASSWORD, startServer } from '../support/server.ts'
import { hasPythonRequests } from '../support/tools.ts'

const OPEN = { ok: true, msg: 'notauth_func({"a":1})' }
const GUARDED = { ok: true, msg: 'auth_func({"a":1}),user_id=user01' }

async function startSample() {
  const server = await startServer()
  await server.addUser({ username: 'user01' })
  return server
}

test('the sample’s nine steps hold through the SDK', async () => {
  await using server = await startSample()
  const { api } = server.client()
  const refused = async () => reasonOf(await api.authFunc.mutate({ a: 1 }).catch((error: unknown) => error))

  expect(await api.notauthFunc.mutate({ a: 1 })).toEqual(OPEN)
  expect(await refused()).toBe('not_signed_in')
  await api.auth.login.mutate({ username: 'user01', password: PASSWORD })
  expect(await api.notauthFunc.mutate({ a: 1 })).toEqual(OPEN)
  expect(await api.authFunc.mutate({ a: 1 })).toEqual(GUARDED)
  expect(await api.auth.logout.mutate()).toEqual({ ok: true })
  expect(await api.notauthFunc.mutate({ a: 1 })).toEqual(OPEN)
  expect(await refused()).toBe('not_signed_in')
})

const data = (answer: { body: { result?: { data: unknown } } }) => answer.body.result?.data

test('the sample’s nine steps hold with plain JSON over HTTPS', async () => {
  await using server = await startSample()
  expect(data(await server.post('notauthFunc', { a: 1 }))).toEqual(OPEN)
  const before = await server.post('authFunc', { a: 1 })
  expect([before.status, before.body.error?.data.reason]).toEqual([401, 'not_signed_in'])
  const login = await server.post('auth.login', { username: 'user01', password: PASSWORD })
  expect(login.status).toBe(200)
  const cookie = cookieOf(login.headers)
  expect(data(await server.post('notauthFunc', { a: 1 }, { cookie }))).toEqual(OPEN)
  expect(data(await server.post('authFunc', { a: 1 }, { cookie }))).toEqual(GUARDED)
  const logout = await server.post('auth.logout', '', { cookie })
  expect(data(logout)).toEqual({ ok: true })
  expect(logout.headers.getSetCookie().join()).toMatch(/^__Host-session=; Max-Age=0; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
  expect(data(await server.post('notauthFunc', { a: 1 }, { cookie }))).toEqual(OPEN)
  const after = await server.post('authFunc', { a: 1 }, { cookie })
  expect([after.status, after.body.error?.data.reason]).toEqual([401, 'session_ended'])
})

test.runIf(hasPythonRequests())('the sample’s nine steps hold for a Python requests session', async () => {
  await using server = await startSample()
  const script = join(import.meta.dirname, '../support/nine_steps.py')
  const { stdout } = await promisify(execFile)('/usr/bin/python3', [script, server.url, server.caFile ?? '', 'user01', PASSWORD])
  expect(JSON.parse(stdout)).toEqual([
    OPEN.msg,
    '401 not_signed_in',
    '401 invalid_credentials Invalid username or password',
    '200',
    OPEN.msg,
    GUARDED.msg,
    '200',
    OPEN.msg,
    '401 not_signed_in',
  ])
})

test('a stock tRPC client with superjson and none of our code signs in and gets Dates', async () => {
  await using server = await startSample()
  const dispatcher = new Agent({ connect: { ca: server.ca } })
  let cookie = ''
  const client = createTRPCClient<AppRouter>({
    links: [
      httpBatchLink({
        url: `${server.url}/api`,
        transformer: superjson,
        async fetch(url, init) {
          const response = await undiciFetch(url as string, {
            ...(init as object),
            headers: { ...(init?.headers as object), cookie },
            dispatcher,
          })
          cookie = cookieOf(response.headers) || cookie
          return response as never
        },
      }),
    ],
  })

  const { user } = await client.auth.login.mutate({ username: 'user01', password: PASSWORD })
  expect(user.createdAt).toBeInstanceOf(Date)
  expect(await client.authFunc.mutate({ a: 1 })).toEqual(GUARDED)
  await dispatcher.close()
})
