import { type Auth, postgresStorage } from '@trpc-login/server'
import { describe, expect, test } from 'vitest'
import { createDatabase } from '../support/postgres.ts'
import { cookieOf, PASSWORD, startServer, type TestServer } from '../support/server.ts'

const ADA = { username: 'ada', password: PASSWORD }
const JSON_HEADERS = { 'content-type': 'application/json', accept: 'application/json' }

/** The paths of all procedures of the auth router that are called by POST. */
function mutations({ router }: Auth): string[] {
  const procedures = Object.entries(router._def.procedures as unknown as Record<string, { _def: { type: string } }>)
  return procedures.filter(([, { _def }]) => _def.type === 'mutation').map(([path]) => path)
}

test('LG-3: username and password outside the body of a POST sign nobody in', async () => {
  await using server = await startServer()
  const query = `${new URLSearchParams(ADA)}&input=${encodeURIComponent(JSON.stringify(ADA))}`
  const basic = `Basic ${Buffer.from(`ada:${PASSWORD}`).toString('base64')}`
  const attempts = [
    server.fetch(`/api/auth.login?${query}`, { headers: JSON_HEADERS }),
    server.fetch(`/api/auth.login?${query}`, { method: 'POST', body: '{}', headers: JSON_HEADERS }),
    server.fetch(`/api/auth.login?${query}`, { method: 'POST', headers: JSON_HEADERS }),
    server.fetch('/api/auth.login', { method: 'POST', body: '{}', headers: { ...JSON_HEADERS, ...ADA, authorization: basic } }),
    server.fetch('/api/guarded', { headers: { ...JSON_HEADERS, authorization: basic } }),
  ]
  for (const { status, headers } of await Promise.all(attempts)) {
    expect([400, 401, 405]).toContain(status)
    expect(headers.getSetCookie()).toEqual([])
  }
  expect((await server.post('auth.login', ADA)).status).toBe(200)
})

test('RV-4: a token of another purpose, or of another form, resets no password', async () => {
  await using server = await startServer()
  const login = await server.post('auth.login', ADA)
  const session = cookieOf(login.headers).split('=')[1] ?? ''
  const tokens = [session, 'A'.repeat(43), '', ' ', null, undefined, 0, true, [], [session], {}, { $ne: '' }, `${session}\0`]
  for (const token of tokens) {
    const { status, body } = await server.post('auth.resetPassword', { token, newPassword: 'entirely new and long' })
    expect([token, status, body.error?.data.reason]).toEqual([token, 400, 'invalid_input'])
  }
  expect((await server.post('auth.login', ADA)).status).toBe(200)
  expect((await server.post('authFunc', {}, { cookie: `__Host-session=${session}` })).status).toBe(200)
})

test('IN-3: keys of prototypes neither fill in an input nor reach any other object', async () => {
  await using server = await startServer({ registration: 'open' })
  const cookie = cookieOf((await server.post('auth.login', ADA)).headers)
  const fields = { ...ADA, id: 'x', name: 'Other', roles: ['admin'], polluted: true }
  const bodies = ['__proto__', 'constructor', 'prototype'].flatMap((key) => {
    const text = `{${JSON.stringify(key)}:${JSON.stringify(key === 'constructor' ? { prototype: fields } : fields)}}`
    return [text, `{"json":${text}}`, `{"json":{"a":1},"meta":{"values":{"${key}.polluted":["undefined"]}}}`, `{"a":${text}}`]
  })
  const before = Object.getOwnPropertyNames(Object.prototype).toSorted()
  for (const path of mutations(server.auth).filter((name) => !/^(logout|sessions.revokeOthers)$/.test(name))) {
    for (const body of bodies) {
      const { status, headers } = await server.post(`auth.${path}`, body, { cookie })
      expect([path, body, status < 500, headers.getSetCookie()]).toEqual([path, body, true, []])
    }
  }
  for (const body of bodies) expect((await server.post('notauthFunc', body)).status).toBeLessThan(500)
  for (const text of bodies)
    expect((await server.fetch(`/api/auth.users.list?input=${encodeURIComponent(text)}`, { headers: { cookie } })).status).toBeLessThan(500)
  expect(Object.getOwnPropertyNames(Object.prototype).toSorted()).toEqual(before)
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  expect(await server.auth.users.findByUsername('ada')).toMatchObject({ name: null, email: null, roles: [] })
  expect((await server.auth.users.list()).items.map(({ username }) => username).toSorted()).toEqual(['ada', 'bob'])
})

const STATEMENTS = ["' or '1'='1", "'; drop table users; --", '%', '_da', 'a%', 'ada\\', '"users"', '$1', '?1', ':id', 'ada" --', "ada'/*"]

describe.each(['SQLite', 'PostgreSQL'])('IN-5: text that would mean something in SQL, on %s', (engine) => {
  async function startWithRoot(): Promise<{ server: TestServer; stop(): Promise<void> }> {
    const database = engine === 'SQLite' ? undefined : await createDatabase()
    const server = await startServer(database === undefined ? {} : { storage: postgresStorage({ url: database.url }) })
    await server.addUser({ username: 'root', roles: ['admin'] })
    return {
      server,
      async stop() {
        await server[Symbol.asyncDispose]()
        await database?.[Symbol.asyncDispose]()
      },
    }
  }

  test('is a name or an id like any other, finds only itself and changes nothing', async () => {
    const { server, stop } = await startWithRoot()
    try {
      const { api } = await server.signIn('root')
      for (const text of STATEMENTS) {
        expect((await api.auth.users.list.query({ search: text })).items).toEqual([])
        for (const input of [{ userId: text }, { type: text }]) expect((await api.auth.audit.list.query(input)).items).toEqual([])
        await expect(api.auth.users.get.query({ id: text })).rejects.toMatchObject({ data: { reason: 'not_found' } })
        await expect(api.auth.sessions.revoke.mutate({ id: text })).rejects.toMatchObject({ data: { reason: 'not_found' } })
        const login = await server.post('auth.login', { username: text, password: text })
        expect([text, login.status, login.body.error?.data.reason]).toEqual([text, 401, 'invalid_credentials'])
      }
      await api.auth.account.update.mutate({ name: STATEMENTS.join(' ') })
      expect((await api.auth.me.query())?.user.name).toBe(STATEMENTS.join(' '))
      expect((await api.auth.users.list.query()).items).toHaveLength(3)
    } finally {
      await stop()
    }
  })
})
