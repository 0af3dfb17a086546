import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'

const CANARY = 'canary-5f1d9b72 sings at dawn'
const NEXT_CANARY = 'canary-0c4e8a31 sleeps at dusk'

test('AU-1 CL-4: a password and a token, through every flow, appear in no log line, error or file', async () => {
  await using server = await startServer({
    registration: 'open',
    wrapStorage: (storage) => ({ ...storage, sessions: { ...storage.sessions, list: failing } }),
  })
  const said: string[] = []
  const call = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const answer = await server.post(path, body, headers)
    said.push(JSON.stringify(answer.body))
    return answer
  }
  const registered = await call('auth.register', { username: 'canary', password: CANARY })
  expect(registered.status).toBe(200)
  const tokens = [cookieOf(registered.headers)]
  const note = (answer: typeof registered) => tokens.push(cookieOf(answer.headers))
  note(await call('auth.login', { username: 'canary', password: CANARY, remember: true }))
  await call('auth.login', { username: CANARY, password: 'wrong' })
  await call('auth.login', { username: 'canary', password: `${CANARY}x` })
  await call('auth.login', { username: 'canary', passwort: CANARY })
  await call('auth.login', `{"username":"canary","password":"${CANARY}"`)
  await call('auth.login', CANARY)
  await call('auth.login,auth.login?batch=1', { 0: { username: 'canary', password: CANARY } })
  await call(`auth.${encodeURIComponent(CANARY)}`, {})
  note(await call('auth.reauthenticate', { password: CANARY }, { cookie: tokens[1] ?? '' }))
  await call('auth.sessions.list', {}, { cookie: tokens[2] ?? '' })
  note(await call('auth.changePassword', { currentPassword: CANARY, newPassword: NEXT_CANARY }, { cookie: tokens[2] ?? '' }))
  await call('auth.authFunc', {}, { cookie: `${tokens[3]}; ${tokens[3]}` })
  await server
    .fetch('/api/auth.sessions.list', { headers: { cookie: tokens[3] ?? '', accept: 'application/json' } })
    .then(async (r) => said.push(await r.text()))
  await call('auth.account.delete', { password: NEXT_CANARY }, { cookie: tokens[3] ?? '' })

  expect(new Set(tokens).size).toBe(4)
  const secrets = [CANARY, NEXT_CANARY, ...tokens.map((token) => token.slice('__Host-session='.length))]
  for (const secret of secrets) expect(secret.length).toBeGreaterThan(20)
  const files = readdirSync(server.dir).map((name) => readFileSync(join(server.dir, name), 'latin1'))
  expect(files.length).toBeGreaterThan(3)
  const written = [...said, ...files, JSON.stringify(server.lines)]
  expect(server.lines.some(({ event }) => event === 'procedure_failed')).toBe(true)
  // The path of an unknown procedure is the caller's own word, said back to nobody else.
  const named = written.map((text) => text.replaceAll(`auth.${CANARY}`, ''))
  for (const secret of secrets) for (const text of named) expect(text.includes(secret)).toBe(false)
})

test('AU-2: no input makes a second line of log', async () => {
  await using server = await startServer()
  await server.post('auth.login', { username: 'ada\n{"event":"forged"}', password: 'x' }, { 'user-agent': 'a b' })
  await server.fetch('/api/%0a%0dforged')
  const { headers } = await server.post('auth.login', { username: 'ada', password: PASSWORD })
  expect(server.lines).toContainEqual(
    expect.objectContaining({ event: 'session_created', fields: expect.objectContaining({ requestId: headers.get('x-request-id') }) }),
  )
  expect(server.lines.map(({ event }) => event)).toContain('authn_login_success')
  for (const { event } of server.lines) expect(event).toMatch(/^[a-z_]+$/)
})

function failing(): Promise<never> {
  return Promise.reject(new Error('the store fails'))
}
