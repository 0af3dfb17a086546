import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { sqliteStorage } from '@trpc-login/server'
import { expect, test } from 'vitest'
import { until } from '../support/remote.ts'
import { cookieOf, PASSWORD, startServer, type TestServer } from '../support/server.ts'

/** Sends bytes over TLS and answers all that comes back. */
function raw({ port, ca }: TestServer, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', port, ca }, () => socket.write(text))
    let answer = ''
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      answer += chunk
    })
    socket.on('end', () => resolve(answer))
    socket.on('error', reject)
  })
}

const get = (target: string, headers = '') => `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${headers}\r\n`
const statusOf = (answer: string) => Number(answer.split(' ', 2)[1])

test.each([
  '/',
  '/apix/open',
  '/xxxx/open',
  '//api/open',
  '/api',
  '/%61pi/open',
  '/api%2fopen',
  '/x/../api/open',
  '/metrics',
  '/trpc/open',
])('a path outside the base path is 404: %s', async (target) => {
  await using server = await startServer()
  expect(statusOf(await raw(server, get(target)))).toBe(404)
})

test('CS-6 TL-2: every answer carries the security headers, those to unparsable requests too', async () => {
  await using server = await startServer()
  const answers = await Promise.all([
    raw(server, get('/api/open')),
    raw(server, get('/api/guarded')),
    raw(server, get('/nope')),
    raw(server, get('/healthz')),
    raw(server, 'NONSENSE\r\n\r\n'),
    raw(server, get('/api/open', `X-Long: ${'x'.repeat(20_000)}\r\n`)),
    raw(server, get(`/api/open?input=${'x'.repeat(9000)}`)),
  ])
  expect(answers.map(statusOf)).toEqual([200, 401, 404, 200, 400, 431, 414])
  for (const answer of answers) {
    const head = answer.split('\r\n\r\n', 1)[0]?.toLowerCase()
    for (const name of [
      'strict-transport-security: max-age=31536000; includesubdomains',
      'x-content-type-options: nosniff',
      'cache-control: no-store',
      "content-security-policy: default-src 'none'",
      'referrer-policy: no-referrer',
      'cross-origin-resource-policy: same-origin',
    ]) {
      expect(head).toContain(name)
    }
    expect(head).not.toMatch(/^server:|x-powered-by/m)
  }
})

test.each([
  ['another origin', { origin: 'https://evil.example' }],
  ['a null origin', { origin: 'null' }],
  ['a look-alike', { origin: 'https://127.0.0.1.evil.example' }],
  ['the same host by http', { origin: 'http://127.0.0.1' }],
  ['a cross-site request without origin', { 'sec-fetch-site': 'cross-site' }],
  ['a same-site request without origin', { 'sec-fetch-site': 'same-site' }],
])('CS-2 CS-3: %s can neither log in nor read', async (_name, headers) => {
  await using server = await startServer()
  const login = await server.post('auth.login', { username: 'ada', password: PASSWORD }, headers)
  expect([login.status, login.body.error?.data.reason, login.headers.getSetCookie()]).toEqual([403, 'origin_refused', []])
  expect(login.headers.get('access-control-allow-origin')).toBe(null)
  expect((await server.fetch('/api/open', { headers })).status).toBe(403)
})

test('CS-2: the own origin, an allowed one and callers that are no browsers pass', async () => {
  await using server = await startServer({ server: { origins: ['https://app.example.com'] } })
  const statuses = await Promise.all(
    [
      {},
      { origin: server.url },
      { origin: 'https://app.example.com' },
      { 'sec-fetch-site': 'same-origin' },
      { 'sec-fetch-site': 'none' },
    ].map(async (headers) => (await server.post('notauthFunc', {}, headers as Record<string, string>)).status),
  )
  expect(statuses).toEqual([200, 200, 200, 200, 200])
})

test('CS-5: an allowed origin gets its preflight answered with exactly itself, another gets 403', async () => {
  await using server = await startServer({ server: { origins: ['https://app.example.com'] } })
  const preflight = (origin: string) =>
    server.fetch('/api/auth.login', { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } })
  const allowed = await preflight('https://app.example.com')
  expect([
    allowed.status,
    allowed.headers.get('access-control-allow-origin'),
    allowed.headers.get('access-control-allow-credentials'),
  ]).toEqual([204, 'https://app.example.com', 'true'])
  expect(allowed.headers.get('vary')).toContain('Origin')
  expect((await preflight('https://evil.example')).status).toBe(403)
})

test.each([
  'multipart/form-data; boundary=x',
  'application/octet-stream',
  'text/plain',
  'application/x-www-form-urlencoded',
  'text/plain;x=application/json',
  '',
])('CS-1: a post with content type "%s" is 415', async (contentType) => {
  await using server = await startServer()
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const response = await server.fetch('/api/auth.logout', {
    method: 'POST',
    body: Buffer.from('x'),
    headers: { cookie, ...(contentType === '' ? {} : { 'content-type': contentType }) },
  })
  expect(response.status).toBe(415)
  expect((await server.post('authFunc', {}, { cookie })).status).toBe(200)
})

test('CS-4: a mutation by GET is 405, and so are other methods', async () => {
  await using server = await startServer()
  const statuses = await Promise.all(
    [
      ['GET', 'auth.logout'],
      ['PUT', 'open'],
      ['DELETE', 'open'],
      ['PATCH', 'open'],
    ].map(async ([method, path]) => (await server.fetch(`/api/${path}`, { method: method ?? '' })).status),
  )
  expect(statuses).toEqual([405, 405, 405, 405])
})

test.each([
  ['twice', (pair: string) => `${pair}; ${pair}`],
  ['in other case', (pair: string) => pair.replace('__Host-session', '__host-session')],
  ['with a leading no-break space', (pair: string) => `\u00a0${pair}`],
  ['in quotes', (pair: string) => pair.replace('=', '="').concat('"')],
  ['cut short', (pair: string) => pair.slice(0, -1)],
  ['too long', (pair: string) => `${pair}${'A'.repeat(4000)}`],
  ['with a path of its own name', (pair: string) => `$Version=1,${pair}`],
])('SS-6: a session cookie %s signs nobody in', async (_name, change) => {
  await using server = await startServer()
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const answer = await raw(server, Buffer.from(get('/api/guarded', `Cookie: ${change(cookie)}\r\n`), 'utf8').toString('utf8'))
  expect(statusOf(answer)).toBe(401)
  expect((await server.post('authFunc', {}, { cookie })).status).toBe(200)
})

test('SS-4: a token in the query, the body or another header signs nobody in', async () => {
  await using server = await startServer()
  const token = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers).split('=')[1] ?? ''
  expect((await server.fetch(`/api/guarded?token=${token}&__Host-session=${token}`)).status).toBe(401)
  expect((await server.post('authFunc', { token, session: token }, { authorization: `Bearer ${token}` })).status).toBe(401)
})

test('SH-6: however many ask whether it is ready, the database is asked once a second', async () => {
  const storage = sqliteStorage({ path: ':memory:' })
  let checks = 0
  const counting = { ...storage, check: () => ((checks += 1), storage.check()) }
  await using server = await startServer({ storage: counting })
  const from = performance.now()
  for (let round = 0; round < 5; round += 1) {
    const answers = await Promise.all(Array.from({ length: 40 }, () => server.fetch('/readyz')))
    expect(answers.every(({ status }) => status === 200)).toBe(true)
  }
  expect(checks).toBeLessThanOrEqual(1 + Math.floor((performance.now() - from) / 1000))
})

test('SH-6: health says alive, readiness says writable', async () => {
  await using server = await startServer()
  expect((await server.fetch('/healthz')).status).toBe(200)
  expect((await server.fetch('/readyz')).status).toBe(200)
  await server.auth.storage.close()
  await until(async () => (await server.fetch('/readyz')).status === 503)
  expect((await server.fetch('/healthz')).status).toBe(200)
  const answer = await server.post('auth.login', { username: 'ada', password: PASSWORD })
  expect([answer.status, answer.body.error?.data.reason]).toEqual([503, 'unavailable'])
})

test('TL-1: TLS 1.1 and plain HTTP get no answer', async () => {
  await using server = await startServer()
  const { port, ca } = server
  const old = new Promise((resolve) =>
    connectTls({ host: '127.0.0.1', port, ca, maxVersion: 'TLSv1.1', minVersion: 'TLSv1' })
      .on('error', () => resolve('refused'))
      .on('secureConnect', () => resolve('accepted')),
  )
  expect(await old).toBe('refused')
  const plain = new Promise((resolve) => {
    let answer = ''
    const socket = connectTcp(port, '127.0.0.1', () => socket.write(get('/api/open')))
    socket.on('data', (chunk) => (answer += chunk.toString('latin1')))
    socket.on('close', () => resolve(answer))
    socket.on('error', () => resolve(answer))
  })
  expect(await plain).not.toContain('HTTP/1.1')
})

test('SH-1: a stop lets the request in flight finish and refuses new connections, half-open sockets or not', async () => {
  await using server = await startServer()
  const halfOpen = connectTcp(server.port, '127.0.0.1')
  await new Promise((resolve) => halfOpen.once('connect', resolve))
  const socket = connectTls({ host: '127.0.0.1', port: server.port, ca: server.ca })
  socket
    .setEncoding('utf8')
    .write(
      'POST /api/notauthFunc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 7\r\nExpect: 100-continue\r\n\r\n',
    )
  const next = () => new Promise<string>((resolve) => socket.once('data', (chunk) => resolve(String(chunk))))
  expect(await next()).toContain('100 Continue')
  const closing = server.close()
  await expect(server.fetch('/healthz')).rejects.toThrow()
  socket.write('{"a":1}')
  expect(await next()).toContain('200 OK')
  halfOpen.destroy()
  await closing
})

test('a subscription goes through the same session, and its Dates arrive as Dates', async () => {
  await using server = await startServer()
  const { api } = await server.signIn()
  const events = await new Promise<unknown[]>((resolve, reject) => {
    const seen: unknown[] = []
    const subscription = api.ticks.subscribe(undefined, {
      onData: (tick) => {
        seen.push(tick)
        if (seen.length < 3) return
        subscription.unsubscribe()
        resolve(seen)
      },
      onError: reject,
    })
  })
  expect(events).toEqual([0, 1, 2].map((n) => ({ n, at: new Date(n), username: 'ada' })))
})

test('a subscription without a session fails with the reason', async () => {
  await using server = await startServer()
  const { api } = server.client()
  const error = await new Promise((resolve, reject) => api.ticks.subscribe(undefined, { onData: reject, onError: resolve }))
  expect(error).toMatchObject({ data: { reason: 'not_signed_in' } })
})
