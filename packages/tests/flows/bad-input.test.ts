import { expect, test } from 'vitest'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'

const GOOD: Record<string, Record<string, unknown>> = {
  'auth.login': { username: 'ada', password: PASSWORD },
  'auth.register': { username: 'eve', password: PASSWORD, name: 'Eve', email: 'eve@example.com' },
  'auth.reauthenticate': { password: PASSWORD },
  'auth.changePassword': { currentPassword: PASSWORD, newPassword: 'another good passphrase' },
  'auth.sessions.revoke': { id: '01a20ce5-14aa-72cd-a694-791233742afa' },
  'auth.account.update': { name: 'Ada' },
  'auth.account.delete': { password: PASSWORD },
}
const BAD: readonly unknown[] = [7, true, [], ['x'], {}, { a: 1 }, '', '\ud800', 'x'.repeat(5000), 'nul\u0000', '\u202e']

test.each(Object.keys(GOOD))('IN-2: %s answers bad fields with 400 and names each', async (path) => {
  await using server = await startServer({ registration: 'open' })
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const send = (body: unknown) => server.post(path, body, { cookie })
  const good = GOOD[path] ?? {}

  for (const whole of ['null', '7', '"text"', '[]', '[1]', '{}'].filter((text) => !(path === 'auth.account.update' && text === '{}'))) {
    const { status, body } = await send(whole)
    expect([whole, status, body.error?.data.reason]).toEqual([whole, 400, 'invalid_input'])
    expect(body.error?.data.issues?.length).toBeGreaterThan(0)
  }
  for (const field of Object.keys(good)) {
    for (const value of BAD.filter((bad) => !isAcceptable(field, bad))) {
      const { status, body } = await send({ ...good, [field]: value })
      expect([field, value, status]).toEqual([field, value, 400])
      expect(body.error?.data.issues?.map((issue) => issue.path.join('.'))).toContain(field)
    }
  }
  const extra = await send({ ...good, extra: 1 })
  expect([extra.status, extra.body.error?.data.issues]).toEqual([400, [{ path: ['extra'], message: 'Unknown key' }]])
  const pollution = await send(`{"__proto__":{"admin":true},${JSON.stringify(good).slice(1)}`)
  expect([400, 401, 404, 200]).toContain(pollution.status)
  expect(({} as { admin?: boolean }).admin).toBeUndefined()
})

/** Passwords may be any well-formed text, and ids and login names are only compared. */
function isAcceptable(field: string, value: unknown): boolean {
  if (typeof value !== 'string') return false
  if (/password/i.test(field)) return value.isWellFormed() && value.length <= 256
  return field === 'id' && value.length <= 64
}

test.each([...Object.keys(GOOD), 'auth.logout', 'auth.sessions.revokeOthers', 'notauthFunc'])(
  'IN-1: %s answers a body of 1 MB with 413',
  async (path) => {
    await using server = await startServer({ registration: 'open' })
    const body = JSON.stringify({ ...GOOD[path], extra: 'x'.repeat(1_000_000) })
    const { status, body: answer } = await server.post(path, body)
    expect([status, answer.error?.data.code]).toEqual([413, 'PAYLOAD_TOO_LARGE'])
  },
)

async function* endless() {
  for (let i = 0; i < 100; i += 1) yield Buffer.alloc(16_384, 0x20)
}

test('IN-1: a body without a stated length is refused while it is read', async () => {
  await using server = await startServer()
  const response = await server.fetch('/api/notauthFunc', {
    method: 'POST',
    body: endless() as never,
    duplex: 'half',
    headers: { 'content-type': 'application/json' },
  })
  expect(response.status).toBe(413)
})

test.each([
  ['malformed JSON', '{"username":'],
  ['a secret in malformed JSON', 'hunter2hunter2'],
  ['30,000 levels', `${'['.repeat(30_000)}${']'.repeat(30_000)}`],
  ['a typed array in superjson', '{"json":{"a":100000000},"meta":{"values":{"a":[["typed-array","Float64Array"]]}}}'],
  ['a prototype path in superjson', '{"json":{"a":1},"meta":{"values":{"__proto__.x":["Date"]}}}'],
  ['an unknown superjson type', '{"json":{"a":1},"meta":{"values":{"a":["class","Nope"]}}}'],
  [
    'thousands of annotations',
    JSON.stringify({ json: {}, meta: { values: Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`a${i}`, ['Date']])) } }),
  ],
  ['meta of the wrong form', '{"json":{"a":1},"meta":{"values":[[[["x"]]]],"referentialEqualities":[1,[2]]}}'],
])('IN-2: %s is 400 with a message of our own', async (_name, body) => {
  await using server = await startServer()
  const { status, body: answer } = await server.post('notauthFunc', body)
  expect([status, answer.error?.data.reason]).toEqual([400, 'invalid_input'])
  expect(answer.error?.message).not.toContain('hunter2')
})

test.each(['__proto__', 'constructor', 'toString', 'auth', 'auth.', 'auth.__proto__', 'nope', 'auth/login', 'auth.login.x'])(
  'unknown procedure %s is 404',
  async (path) => {
    await using server = await startServer()
    const { status, body } = await server.post(path, {})
    expect([status, body.error?.data.reason]).toEqual([404, 'not_found'])
  },
)

test('IN-4: an unexpected error shows a general message, and the log has the detail under the same id', async () => {
  await using server = await startServer()
  const response = await server.fetch('/api/fails', { headers: { accept: 'application/json' } })
  const body = (await response.json()) as { error: { message: string; data: { requestId: string } } }
  expect(response.status).toBe(500)
  expect(body.error.message).toBe('Internal server error')
  expect(JSON.stringify(body)).not.toMatch(/secrets|\/etc|stack/)
  expect(response.headers.get('x-request-id')).toBe(body.error.data.requestId)
  const line = server.lines.find(({ event }) => event === 'procedure_failed')
  expect(line?.fields).toMatchObject({ requestId: body.error.data.requestId, path: 'fails' })
  expect(String(line?.fields['error'])).toContain('select * from secrets')
})

test('plain JSON and superjson are both understood, and answered as asked for', async () => {
  await using server = await startServer()
  const enveloped = await server.fetch('/api/notauthFunc', {
    method: 'POST',
    body: '{"json":{"a":1}}',
    headers: { 'content-type': 'application/json' },
  })
  expect(await enveloped.json()).toEqual({ result: { data: { json: { ok: true, msg: 'notauth_func({"a":1})' } } } })
  const plain = await server.post('notauthFunc', { a: 1 })
  expect(plain.body.result?.data).toEqual({ ok: true, msg: 'notauth_func({"a":1})' })
  expect(plain.headers.get('vary')?.toLowerCase()).toContain('accept')
})
