import { readFileSync } from 'node:fs'
import { connect } from 'node:tls'
import { initTRPC } from '@trpc/server'
import { type AuthContext, formatAuthError, transformer } from '@trpc-login/server'
import { loadConfig } from '@trpc-login/server/config'
import { createTestAuth } from '@trpc-login/server/testing'
import { expect, test } from 'vitest'
import { createDirectPath } from '../../server/src/http/direct.ts'
import { createServerWith } from '../../server/src/http/server.ts'
import { temporaryDirectory } from '../support/process.ts'
import { PASSWORD } from '../support/server.ts'

const PATHS = {
  'the direct path': createDirectPath,
  "tRPC's own handler": () => () => false,
} satisfies Record<string, typeof createDirectPath>
const SIGNED_ON_EVERY_ANSWER = [
  'strict-transport-security: max-age=31536000; includesubdomains',
  'x-content-type-options: nosniff',
  'cache-control: no-store',
  "content-security-policy: default-src 'none'",
  'referrer-policy: no-referrer',
  'x-frame-options: deny',
]

/** A server that says what was done on it. */
async function start(path: keyof typeof PATHS, basePath = '/api/', more: { keepAliveMs?: number; trustedProxies?: string[] } = {}) {
  const { trustedProxies = [], ...rest } = more
  const auth = createTestAuth({ trustedProxies })
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const acts: string[] = []
  const router = t.router({
    auth: auth.router,
    open: t.procedure.query(() => 'open'),
    acts: t.procedure.input((input: unknown) => input).mutation(() => acts.push('act')),
    'odd name': t.procedure.query(() => 'odd'),
    ünder: t.procedure.query(() => 'under'),
    healthz: t.procedure.query(() => 'a procedure of that name'),
  })
  await auth.users.create({ username: 'ada', password: PASSWORD })
  const server = await createServerWith(PATHS[path], {
    auth,
    router,
    basePath,
    ...rest,
    port: 0,
    tls: { developmentDir: temporaryDirectory() },
  })
  const ca = readFileSync(server.caFile ?? '', 'utf8')
  return {
    acts,
    /** All that comes until the other side closes the connection; what is written later follows the first answer. */
    send(text: string, later = ''): Promise<string> {
      return new Promise((resolve) => {
        const socket = connect({ host: '127.0.0.1', port: server.port, ca }, () => socket.write(text, 'latin1'))
        let answer = ''
        socket.setEncoding('utf8').on('error', () => {})
        socket.on('data', (chunk: string) => {
          if (answer === '' && later !== '') socket.write(later)
          answer += chunk
        })
        socket.on('close', () => resolve(answer))
      })
    },
    [Symbol.asyncDispose]: () => server.close(),
  }
}

const statusOf = (answer: string) => Number(answer.split(' ', 2)[1])
const get = (target: string) => `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`
const post = (target: string, body: string, more = '') =>
  `POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`

const OTHER_SPELLINGS = [
  '/api/open/',
  '/api//open',
  '/api/./open',
  '/api/.',
  '/api/..',
  '/api/x/../open',
  '/api/%2e/open',
  '/api/%2E%2E/api/open',
  '/api/o%70en',
  '/api/auth%2Eme',
  '/api/open%2Copen?batch=1',
  '/api/open%00',
  '/api/%zz',
  '/api/%c3%bcnder',
  '/api/open#x',
  '/api/open\\',
  '//api/open',
  '/API/open',
  'https://x/api/open',
  'http://127.0.0.1/healthz',
  '//healthz',
  '/healthz/',
  '/./healthz',
  '/x/../healthz',
  '/health%7A',
  '/healthz?x=1',
  '/readyz/',
  '/oauth/google/callback/',
  '/oauth/x/../google/callback',
  '//oauth/google/callback',
  '*',
]

test.each(Object.keys(PATHS) as (keyof typeof PATHS)[])('%s: a path has one spelling, and any other is 404', async (path) => {
  await using server = await start(path)
  const answers = await Promise.all(OTHER_SPELLINGS.map(async (target) => [target, statusOf(await server.send(get(target)))]))
  expect(answers).toEqual(OTHER_SPELLINGS.map((target) => [target, 404]))
  const exact = ['/api/open', '/api/open?batch=1', '/api/auth.me,open?batch=1', '/api/odd%20name', '/api/%C3%BCnder', '/healthz', '/readyz']
  for (const target of exact) expect([target, statusOf(await server.send(get(target)))]).toEqual([target, 200])
})

test.each(['/', '', '/trpc', 'trpc/', '/a/b/'])('procedures stand at the base path %j, and health beside them', async (basePath) => {
  await using server = await start('the direct path', basePath)
  const base = basePath.replace(/^\/|\/$/g, '')
  const prefix = base === '' ? '' : `/${base}`
  expect(await server.send(get(`${prefix}/open`))).toContain('"open"')
  expect(await server.send(get(`${prefix}/open,auth.me?batch=1`))).toContain('"open"')
  expect(await server.send(get(`${prefix}/odd%20name`))).toContain('"odd"')
  expect(await server.send(get('/healthz'))).toContain('{"ok":true}')
  for (const target of [`${prefix}//open`, `/x${prefix}/open`, `${prefix}/open/`])
    expect([target, statusOf(await server.send(get(target)))]).toEqual([target, 404])
  expect(statusOf(await server.send(get('/oauth/google/callback')))).toBe(404)
})

const LONG = 'x'.repeat(9000)
const JSON_HEAD = 'POST /api/acts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
/** What Node lets through or would answer in its own words, and what it is answered with. */
const ODD_REQUESTS: readonly (readonly [string, number, string])[] = [
  ['a request line without version', 400, 'GET /api/open\r\n\r\n'],
  ['HTTP/0.9', 400, 'GET /api/open HTTP/0.9\r\n\r\n'],
  ['HTTP/2.0', 400, 'GET /api/open HTTP/2.0\r\nHost: x\r\n\r\n'],
  ['two Host headers', 400, 'GET /api/open HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n'],
  ['the same Host twice', 400, 'GET /healthz HTTP/1.1\r\nHost: x\r\nhost: x\r\n\r\n'],
  ['no Host', 400, 'GET /api/open HTTP/1.1\r\n\r\n'],
  ['no Host, for health', 400, 'GET /healthz HTTP/1.1\r\n\r\n'],
  ['an unknown expectation', 417, `${JSON_HEAD}Expect: bogus\r\nContent-Length: 2\r\n\r\n{}`],
  ['an unknown expectation beside the known one', 417, `${JSON_HEAD}Expect: 100-continue, bogus\r\nContent-Length: 2\r\n\r\n{}`],
  ['CONNECT', 405, 'CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n'],
  ['TRACE', 405, 'TRACE /api/open HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  ['an upgrade that is not known', 200, 'GET /api/open HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n'],
  [
    'an upgrade to HTTP/2',
    200,
    'GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n',
  ],
  ['nonsense', 400, 'NONSENSE\r\n\r\n'],
  ['headers that are too long', 431, `GET /api/open HTTP/1.1\r\nHost: x\r\nX: ${LONG}${LONG}\r\n\r\n`],
  ['a URL that is too long', 414, get(`/api/open?input=${LONG}`)],
  ['a path that is none', 404, get('/nope')],
  ['another origin', 403, 'GET /api/open HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n'],
  ['a body that is no JSON', 415, post('/api/acts', 'a=1', 'Connection: close\r\n').replace('application/json', 'text/plain')],
  ['a body that is compressed', 415, post('/api/acts', '{}', 'Content-Encoding: gzip\r\nConnection: close\r\n')],
  ['a length beyond the limit', 413, `${JSON_HEAD}Content-Length: 70000\r\n\r\n`],
  ['chunks beyond the limit', 413, `${JSON_HEAD}Transfer-Encoding: chunked\r\n\r\n${`4000\r\n${'x'.repeat(0x4000)}\r\n`.repeat(5)}`],
  ['a batch beyond the cap', 400, get(`/api/${'open,'.repeat(10)}open?batch=1`)],
  ['a batch of two kinds', 400, get('/api/open,acts?batch=1')],
  ['a mutation by GET', 405, get('/api/acts')],
  ['a bad Host', 400, 'GET /api/open HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n'],
  ['an old client without Host', 200, 'GET /healthz HTTP/1.0\r\n\r\n'],
  ['a preflight of nobody', 204, 'OPTIONS /api/open HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  ['HEAD', 204, 'HEAD /api/open HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
]

test.each(Object.keys(PATHS) as (keyof typeof PATHS)[])(
  'IN-7 TL-2 %s: odd requests get the status that they deserve, the headers of every answer, and text that says its type',
  async (path) => {
    await using server = await start(path)
    const rows = await Promise.all(ODD_REQUESTS.map(async ([name, status, text]) => ({ name, status, answer: await server.send(text) })))
    for (const { name, status, answer } of rows) {
      const [head = '', body = ''] = answer.split('\r\n\r\n')
      expect([name, statusOf(answer)]).toEqual([name, status])
      for (const header of SIGNED_ON_EVERY_ANSWER) expect([name, head.toLowerCase()]).toEqual([name, expect.stringContaining(header)])
      if (body !== '') expect([name, head.toLowerCase()]).toEqual([name, expect.stringContaining('content-type: application/json')])
      if (body !== '' && status >= 400) expect([name, body]).toEqual([name, expect.stringContaining('"requestId":"')])
      expect([name, answer.match(/HTTP\/1\.1 \d/g)]).toEqual([name, ['HTTP/1.1 ' + String(status)[0]]])
    }
    expect(server.acts).toEqual([])
  },
)

test('Expect: 100-continue is judged before it is granted, and the body that follows is acted on', async () => {
  await using server = await start('the direct path')
  const head = `${JSON_HEAD}Expect: 100-continue\r\nConnection: close\r\nContent-Length: 2\r\n`
  expect(await server.send(`${head}\r\n`, '{}')).toMatch(/^HTTP\/1\.1 100 Continue\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
  expect(server.acts).toEqual(['act'])
  for (const [header, status] of [
    ['Origin: https://evil.example', 403],
    ['Content-Encoding: gzip', 415],
  ] as const)
    expect(statusOf(await server.send(`${head}${header}\r\n\r\n`))).toBe(status)
  expect(statusOf(await server.send(`${head.replace('Length: 2', 'Length: 70000')}\r\n`))).toBe(413)
  expect(server.acts).toEqual(['act'])
})

test('a refusal behind a login waits for the answer to the login, and nothing behind it is done', async () => {
  await using server = await start('the direct path')
  const login = post('/api/auth.login', JSON.stringify({ username: 'ada', password: PASSWORD }))
  for (const [garbage, status] of [
    ['NONSENSE\r\n\r\n', 400],
    ['CONNECT evil.example:443 HTTP/1.1\r\nHost: x\r\n\r\n', 405],
    ['GET /api/open HTTP/1.1\r\n\r\n', 400],
  ] as const) {
    const answer = await server.send(`${login}${garbage}${post('/api/acts', '{}')}`)
    expect([...answer.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, code]) => Number(code))).toEqual([200, status])
    expect(answer).toMatch(/set-cookie: __Host-session=/i)
  }
  expect(server.acts).toEqual([])
})

test('CS-2: the own origin is the own one with the port of https written out, and where a browser says so itself', async () => {
  await using server = await start('the direct path')
  const call = (host: string, origin: string, more = '') =>
    server.send(`GET /api/open HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${origin}\r\n${more}Connection: close\r\n\r\n`)
  expect(statusOf(await call('name.example:443', 'https://name.example'))).toBe(200)
  expect(statusOf(await call('NAME.example', 'https://name.example'))).toBe(200)
  expect(statusOf(await call('inner.example:8443', 'https://name.example', 'Sec-Fetch-Site: same-origin\r\n'))).toBe(200)
  expect(statusOf(await call('name.example:444', 'https://name.example'))).toBe(403)
  expect(statusOf(await call('name.example:4430', 'https://name.example'))).toBe(403)
  expect(statusOf(await call('name.example', 'https://name.example:443'))).toBe(403)
  expect(statusOf(await call('inner.example', 'https://name.example', 'Sec-Fetch-Site: same-site\r\n'))).toBe(403)
})

/** What an answer says of how long its connection stays open. */
async function keptFor(more: NonNullable<Parameters<typeof start>[2]>): Promise<string | undefined> {
  await using server = await start('the direct path', '/api/', more)
  const answer = await server.send('GET /api/open HTTP/1.1\r\nHost: x\r\n\r\n', get('/healthz'))
  return /\r\nkeep-alive: timeout=(\d+)/i.exec(answer)?.[1]
}

test('idle connections stay open for ten seconds, behind trusted proxies for longer than balancers keep them, or as told', async () => {
  expect(await keptFor({})).toBe('10')
  expect(await keptFor({ trustedProxies: ['10.0.0.0/8'] })).toBe('65')
  expect(await keptFor({ trustedProxies: ['10.0.0.0/8'], keepAliveMs: 30_000 })).toBe('30')
  for (const keepAliveMs of [0, 999, 1500.5, 600_001, Number.NaN, '5000' as never])
    await expect(start('the direct path', '/api/', { keepAliveMs })).rejects.toThrow('keepAliveMs must be an integer from 1000 to 600000')
  expect(loadConfig({ TRPC_LOGIN_KEEP_ALIVE_MS: '75000' }).server).toMatchObject({ keepAliveMs: 75_000 })
  expect(loadConfig({}).server).not.toHaveProperty('keepAliveMs')
  for (const value of ['999', '600001', '1e4', ''])
    expect(() => loadConfig({ TRPC_LOGIN_KEEP_ALIVE_MS: value })).toThrow('KEEP_ALIVE_MS must be')
})
