import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer as createHttpServer, type ServerResponse } from 'node:http'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { initTRPC } from '@trpc/server'
import { type AuthContext, createServer, formatAuthError, transformer } from '@trpc-login/server'
import { createTestAuth } from '@trpc-login/server/testing'
import { expect, onTestFinished, test } from 'vitest'
import { trackUnderWay } from '../../server/src/http/under-way.ts'
import { temporaryDirectory } from '../support/process.ts'
import { PASSWORD, startServer, type TestServer } from '../support/server.ts'

const LOGIN = JSON.stringify({ username: 'ada', password: PASSWORD })
const post = (path: string, body: string, headers = '') =>
  `POST /api/${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`
const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
const statuses = (text: string) => [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status))

async function connect({ port, ca }: Pick<TestServer, 'port' | 'ca'>): Promise<TLSSocket> {
  const socket = connectTls({ host: '127.0.0.1', port, ca })
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('secureConnect', resolve))
  return socket
}

/** How many requests the application was asked for a context. */
function countContexts({ auth }: TestServer): () => number {
  let asked = 0
  auth.createContext = new Proxy(auth.createContext, {
    apply: (target, self, args) => {
      asked += 1
      return Reflect.apply(target, self, args) as unknown
    },
  })
  return () => asked
}

/** All that comes until the other side closes. */
async function send(server: Pick<TestServer, 'port' | 'ca'>, bytes: string): Promise<string> {
  const socket = await connect(server)
  let text = ''
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  socket.write(bytes)
  await closed
  return text
}

const READ_FIRST = /^POST \/api\/(auth\.logout|notauthFunc)|auth\.me/

test.each([
  'GET /api/auth.me',
  'POST /api/auth.logout',
  'POST /api/notauthFunc',
  'POST /api/nowhere',
  'OPTIONS /api/open',
  'GET /healthz',
  'GET /readyz',
  'POST /oauth/google/callback',
])('IN-1: a body without end is not read on past the limit: %s', async (line) => {
  await using server = await startServer()
  const socket = await connect(server)
  let text = ''
  let sent = 0
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
  })
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.write(`${line} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`)
  const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`
  while (!socket.destroyed && sent < 50 * 2 ** 20) {
    if (!socket.write(chunk)) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed])
    sent += chunk.length
  }
  await closed
  // What the buffers of two kernels hold is written before the end is heard of.
  expect(sent).toBeLessThan(16 * 2 ** 20)
  expect(statuses(text).length).toBeLessThanOrEqual(1)
  if (READ_FIRST.test(line)) expect(text).not.toMatch(/^HTTP\/1\.1 [^4]/)
})

test('IN-1: a body in chunks within the limit is read, and its connection used again', async () => {
  await using server = await startServer()
  const chunked =
    'POST /api/notauthFunc HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{"a":1}\r\n0\r\n\r\n'
  const text = await send(server, `${chunked}${get('/healthz').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')}`)
  expect(statuses(text)).toEqual([200, 200])
})

test.each(['gzip', 'br', 'identity, gzip'])('a body in content-encoding %s is 415', async (encoding) => {
  await using server = await startServer()
  const response = await server.post('notauthFunc', { a: 1 }, { 'content-encoding': encoding })
  expect(response.status).toBe(415)
  expect((await server.post('notauthFunc', { a: 1 }, { 'content-encoding': 'identity' })).status).toBe(200)
})

test('SH-5: ten requests on one connection are answered, and an eleventh under way ends it before anything more is looked at', async () => {
  await using server = await startServer()
  const asked = countContexts(server)
  const ten = await send(server, `${get('/api/open').repeat(9)}${get('/api/open').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n')}`)
  expect(statuses(ten)).toEqual(Array.from({ length: 10 }, () => 200))
  const before = asked()
  await send(server, get('/api/guarded').repeat(500))
  expect(asked() - before).toBeLessThanOrEqual(10)
  expect((await server.fetch('/api/open')).status).toBe(200)
})

test.each([
  ['an eleventh under way', get('/api/open').repeat(900)],
  ['one that is refused with the end of its connection', `GET /api/open HTTP/1.1\r\n\r\n${get('/api/open').repeat(900)}`],
])('SH-5: of what comes in one piece with %s, nothing behind it is even parsed', async (_name, bytes) => {
  await using server = await startServer()
  let parsed = 0
  const count = () => (parsed += 1)
  subscribe('http.server.request.start', count)
  onTestFinished(() => void unsubscribe('http.server.request.start', count))
  await send(server, bytes)
  expect(parsed).toBeGreaterThan(0)
  expect(parsed).toBeLessThanOrEqual(11)
})

test('SH-3: who pipelines and never reads is cut off, and leaves nothing behind', async () => {
  await using server = await startServer()
  const burst = get(`/api/${'a,'.repeat(9)}a?batch=1`).repeat(900)
  const sockets = await Promise.all(Array.from({ length: 20 }, () => connect(server)))
  const closed = sockets.map((socket) => new Promise((resolve) => socket.resume().on('close', resolve)))
  for (const socket of sockets) socket.write(burst)
  await Promise.all(closed)
  expect((await server.fetch('/healthz')).status).toBe(200)
})

test('what cannot be read behind a login is refused after the login was answered', async () => {
  await using server = await startServer()
  const text = await send(server, `${post('auth.login', LOGIN)}\0garbage\r\n\r\n`)
  expect(statuses(text)).toEqual([200, 400])
  expect(text).toContain('__Host-session=')
})

test('what cannot be read inside a body is refused at once', async () => {
  await using server = await startServer()
  const text = await send(
    server,
    `POST /api/auth.login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz`,
  )
  expect(statuses(text)).toEqual([400])
})

test('SH-1: a stop ends at once the connections that have asked nothing, and lets the others be answered', async () => {
  const server = await startServer()
  const silent = await connect(server)
  const raw = connectTcp({ host: '127.0.0.1', port: server.port })
  await new Promise((resolve) => raw.once('connect', resolve))
  const asked = countContexts(server)
  const busy = send(server, post('auth.login', LOGIN))
  const ended = [silent, raw].map((socket) => new Promise((resolve) => socket.on('error', () => {}).on('close', resolve)))
  await expect.poll(asked).toBe(1)
  const from = performance.now()
  await server[Symbol.asyncDispose]()
  expect(performance.now() - from).toBeLessThan(4000)
  await Promise.all(ended)
  expect(statuses(await busy)).toEqual([200])
})

/** A peer that reads as the test says. */
function fakeAnswer() {
  const socket = Object.assign(new EventEmitter(), {
    destroyed: false,
    bytesWritten: 0,
    writableLength: 0,
    destroy: () => (socket.destroyed = true),
  })
  const res = Object.assign(new EventEmitter(), { req: { socket, complete: true }, getHeader: () => undefined })
  return { socket, res: res as unknown as ServerResponse }
}

test('SH-3: a connection whose peer has read nothing of its answers for half a minute is ended, and one that reads slowly is not', () => {
  const underWay = trackUnderWay(() => {})
  const [stuck, slow, idle] = [fakeAnswer(), fakeAnswer(), fakeAnswer()]
  for (const { res } of [stuck, slow, idle]) expect(underWay.begin(res)).toBe(true)
  for (const { socket } of [stuck, slow]) Object.assign(socket, { bytesWritten: 10_000, writableLength: 10_000 })
  for (let at = 0; at <= 60_000; at += 5000) {
    underWay.sweep(at)
    slow.socket.writableLength -= 100
    if (at < 30_000) expect(stuck.socket.destroyed).toBe(false)
  }
  expect([stuck, slow, idle].map(({ socket }) => socket.destroyed)).toEqual([true, false, false])
})

test('SH-3: answers under way on a connection of which nothing more is read have half a minute', () => {
  const underWay = trackUnderWay(() => {})
  const { socket, res } = fakeAnswer()
  underWay.begin(res)
  underWay.whenIdle(socket as never, () => {})
  for (let at = 1000; at <= 31_000; at += 5000) {
    underWay.sweep(at)
    expect([at, socket.destroyed]).toEqual([at, at >= 31_000])
  }
})

test('a real server says by these figures what its peer has read', async () => {
  const server = createHttpServer((_req, res) => res.end(Buffer.alloc(32 * 2 ** 20)))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const socket = connectTcp((server.address() as { port: number }).port, '127.0.0.1')
  const accepted = new Promise<import('node:net').Socket>((resolve) => server.once('connection', resolve))
  socket.write(get('/'))
  const peer = await accepted
  await expect.poll(() => peer.writableLength > 0).toBe(true)
  const flushed = () => peer.bytesWritten - peer.writableLength
  const before = flushed()
  socket.resume()
  await expect.poll(() => peer.writableLength).toBe(0)
  expect(flushed()).toBeGreaterThan(before)
  socket.destroy()
})

class Services {
  #name = 'services'
  get shout() {
    return this.#name.toUpperCase()
  }
  greet() {
    return `hello from ${this.#name}`
  }
}

test('a class instance as the application’s context keeps its methods, behind guards too', async () => {
  await using auth = createTestAuth()
  const t = initTRPC.context<AuthContext & Services>().create({ transformer, errorFormatter: formatAuthError })
  const router = t.router({
    auth: auth.router,
    greets: t.procedure.query(({ ctx }) => `${ctx.greet()} ${ctx.shout}`),
    greetsUser: t.procedure.concat(auth.requireUser).query(({ ctx }) => `${ctx.greet()} ${ctx.user.username}`),
  })
  const dir = temporaryDirectory()
  const shared = new Services()
  const server = await createServer({ auth, router, port: 0, tls: { developmentDir: dir }, createContext: () => shared as never })
  onTestFinished(() => server.close())
  const caller = router.createCaller
  expect(typeof caller).toBe('function')
  const ca = await import('node:fs').then(({ readFileSync }) => readFileSync(server.caFile ?? '', 'utf8'))
  await auth.users.create({ username: 'ada', password: PASSWORD })
  const login = await send({ port: server.port, ca }, post('auth.login', LOGIN, 'Connection: close\r\n'))
  const cookie = /__Host-session=[^;]+/.exec(login)?.[0] ?? ''
  const asUser = await send(
    { port: server.port, ca },
    get('/api/greetsUser').replace('\r\n\r\n', `\r\nCookie: ${cookie}\r\nConnection: close\r\n\r\n`),
  )
  expect(asUser).toContain('hello from services ada')
  const asAnyone = await send({ port: server.port, ca }, get('/api/greets').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
  expect(asAnyone).toContain('hello from services SERVICES')
  expect('auth' in shared).toBe(false)
})

test('SH-3: a caller that leaves is told of to each of its requests, those too that wait for their turn to be answered', async () => {
  const auth = createTestAuth()
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const waiting = { now: 0, left: 0 }
  const wait = async ({ signal }: { signal: AbortSignal | undefined }) => {
    waiting.now += 1
    await new Promise((resolve) => signal?.addEventListener('abort', resolve))
    waiting.left += 1
  }
  const router = t.router({ reads: t.procedure.query(wait), writes: t.procedure.input(String).mutation(wait) })
  const server = await createServer({ auth, router, port: 0, tls: { developmentDir: temporaryDirectory() } })
  onTestFinished(() => server.close())
  const socket = await connect({ port: server.port, ca: readFileSync(server.caFile ?? '', 'utf8') })
  socket.write(
    `${get('/api/reads')}${post('writes', '"a"')}${post('writes', '"a"', 'trpc-accept: application/json\r\n')}${get('/api/reads')}`,
  )
  await expect.poll(() => waiting.now).toBe(4)
  socket.destroy()
  await expect.poll(() => waiting.left).toBe(4)
})
