import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'

// A release is tried with many more: FUZZ_RUNS=100000.
const RUNS = Number(process.env['FUZZ_RUNS'] ?? 1500)
const AT_ONCE = 16
const KEYS = [
  'username',
  'password',
  'remember',
  'currentPassword',
  'newPassword',
  'id',
  'name',
  'email',
  'json',
  'meta',
  '__proto__',
  'constructor',
]

const text = fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.constantFrom('ada', PASSWORD, '', '\u0000', '\ud800', '%00', 'ａｄａ'))
const value = fc.oneof(text, fc.jsonValue(), fc.double(), fc.constantFrom(null, true, -0, 1e308, [], {}))
const input = fc.oneof(
  fc.dictionary(fc.oneof(fc.constantFrom(...KEYS), fc.string()), value),
  fc.record({ json: value, meta: fc.oneof(value, fc.record({ values: value, referentialEqualities: value })) }),
  value,
)
const body = fc.oneof(
  input.map((data) => JSON.stringify(data) ?? ''),
  text,
)
const cookie = fc.oneof(
  fc.constant(''),
  fc.constant('LIVE'),
  text.map((part) => `__Host-session=${part}`),
  fc.constant(null).map(() => `__Host-session=${randomBytes(32).toString('base64url')}`),
)
const header = fc.constantFrom<Record<string, string>>(
  {},
  { accept: 'application/json' },
  { accept: 'application/jsonl' },
  { accept: 'text/event-stream', 'last-event-id': 'x' },
  { 'trpc-accept': 'application/jsonl' },
  { 'content-type': 'text/plain' },
  { 'x-forwarded-for': '1.2.3.4, ::1' },
  { origin: 'null' },
)

test(`IN-2 SH-4: ${RUNS} generated requests to every procedure crash nothing and meet no unexpected error`, {
  timeout: 30 * 60_000,
}, async () => {
  await using server = await startServer({ registration: 'open' })
  const live = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const paths = Object.keys(server.auth.router._def.procedures as object).filter((path) => path !== 'events')
  const path = fc.oneof(
    fc.constantFrom(...paths.map((name) => `auth.${name}`), 'notauthFunc', 'authFunc', 'open'),
    fc.array(fc.constantFrom(...paths.map((name) => `auth.${name}`)), { minLength: 2, maxLength: 12 }).map((names) => names.join(',')),
    fc.string(),
  )
  const request = fc.record({ path, body, cookie, header, method: fc.constantFrom('POST', 'POST', 'POST', 'GET'), batch: fc.boolean() })
  const statuses = new Map<number, number>()

  const pending = fc.sample(request, RUNS)
  async function work(): Promise<void> {
    for (let made = pending.pop(); made !== undefined; made = pending.pop()) {
      const isGet = made.method === 'GET'
      const query = new URLSearchParams({ ...(made.batch ? { batch: '1' } : {}), ...(isGet ? { input: made.body } : {}) })
      const sent = made.cookie === 'LIVE' ? live : made.cookie.replace(/[^\x20-\x7e\x80-\xff]/g, '')
      const response = await server.fetch(`/api/${encodeURIComponent(made.path).replaceAll('%2C', ',')}?${query}`.slice(0, 8000), {
        method: made.method,
        headers: { 'content-type': 'application/json', ...made.header, ...(sent === '' ? {} : { cookie: sent }) },
        ...(isGet ? {} : { body: made.body }),
      })
      const answer = await response.text()
      statuses.set(response.status, (statuses.get(response.status) ?? 0) + 1)
      const isDeliberate = response.status < 500 || (response.status === 503 && response.headers.has('retry-after'))
      if (!isDeliberate || /"httpStatus":500|node_modules|\bat \w+ \(/.test(answer))
        throw new Error(`${JSON.stringify(made)} -> ${response.status} ${answer}`)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  console.log(`answers by status: ${JSON.stringify(Object.fromEntries([...statuses].toSorted(([a], [b]) => a - b)))}`)
  expect([...statuses.values()].reduce((sum, count) => sum + count)).toBe(RUNS)
  expect(server.lines.filter(({ event }) => event === 'procedure_failed')).toEqual([])
  expect(Object.prototype).not.toHaveProperty('json')
  expect((await server.fetch('/readyz')).status).toBe(200)
})
