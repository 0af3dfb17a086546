import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { startServer, type TestServer } from '../support/server.ts'

/** Sends bytes, keeps the socket open and answers what came until the other side closed it, and after how long. */
function send({ port, ca }: TestServer, bytes: string | Buffer): Promise<{ answer: string; ms: number }> {
  return new Promise((resolve) => {
    const from = performance.now()
    const socket = connectTls({ host: '127.0.0.1', port, ca }, () => socket.write(bytes))
    let answer = ''
    socket.setEncoding('utf8')
    socket.on('data', (chunk: string) => {
      answer += chunk
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve({ answer, ms: performance.now() - from }))
  })
}

const HEAD = 'POST /api/auth.logout HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'

test.each([
  ['two lengths', `${HEAD}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`],
  ['a length and chunks', `${HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n`],
  ['a chunked encoding that is not the last', `${HEAD}Transfer-Encoding: chunked, identity\r\n\r\n{}`],
  ['a folded header', `${HEAD}X-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\n{}`],
  ['bare line feeds', 'GET /api/open HTTP/1.1\nHost: x\n\n'],
  ['a space before the colon', 'GET /api/open HTTP/1.1\r\nHost : x\r\n\r\n'],
  ['no host', 'GET /api/open HTTP/1.1\r\n\r\n'],
  ['NUL in a header', 'GET /api/open HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n'],
  ['a length that is no number', `${HEAD}Content-Length: 2x\r\n\r\n{}`],
  ['an unknown method', 'TRACK /api/open HTTP/1.1\r\nHost: x\r\n\r\n'],
  ['binary noise', Buffer.from(Array.from({ length: 500 }, (_, index) => (index * 131) % 256))],
])('IN-7: a request with %s is 400 and closes the connection', async (_name, bytes) => {
  await using server = await startServer()
  const { answer } = await send(server, bytes)
  expect(answer).toMatch(/^HTTP\/1\.1 4(00|05) /)
  expect(answer.toLowerCase()).toContain('connection: close')
  expect(answer.match(/HTTP\/1\.1/g)).toHaveLength(1)
})

test.each(['http://127.0.0.1/api/open', 'https://evil.example/api/open', '*', 'x', '/api/../healthz', '/healthz/', '//healthz'])(
  'an unusual target finds nothing: %s',
  async (target) => {
    await using server = await startServer()
    const { answer } = await send(server, `GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    expect(answer).toMatch(/^HTTP\/1\.1 40[04] /)
  },
)

test('TL-5: TRACE and CONNECT are refused, and no answer names what serves it', async () => {
  await using server = await startServer()
  for (const method of ['TRACE /api/open', 'CONNECT evil.example:443', 'GET /api/open']) {
    const { answer } = await send(server, `${method} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    if (!method.startsWith('GET')) expect(answer).not.toMatch(/^HTTP\/1\.1 2/)
    expect(answer.toLowerCase()).not.toMatch(/^(server|x-powered-by):/m)
  }
})

test('SH-3: slow handshakes, heads, bodies and readers are cut off, while others are answered', async () => {
  await using server = await startServer()
  const { port } = server
  const silent = Array.from({ length: 30 }, () => closingOf(connectTcp({ host: '127.0.0.1', port })))
  const slowHeads = Array.from({ length: 30 }, () => send(server, 'GET /api/open HTTP/1.1\r\nHost: x\r\nX-Slow: '))
  const slowBodies = Array.from({ length: 30 }, () => send(server, `${HEAD}Content-Length: 50\r\n\r\n{`))
  const halfOpen = Array.from({ length: 30 }, () => send(server, ''))
  for (let i = 0; i < 50; i += 1) expect((await server.fetch('/api/open')).status).toBe(200)
  const closed = await Promise.all([...silent, ...slowHeads, ...slowBodies, ...halfOpen])
  for (const { ms } of closed) expect(ms).toBeLessThan(25_000)
  for (const { answer } of closed.slice(30, 60)) expect(answer).toMatch(/^(HTTP\/1\.1 408 |$)/)
}, 40_000)

function closingOf(socket: Socket): Promise<{ answer: string; ms: number }> {
  const from = performance.now()
  return new Promise((resolve) => {
    socket.on('error', () => {})
    socket.on('close', () => resolve({ answer: '', ms: performance.now() - from }))
  })
}

test('SH-5: one address has 200 connections, and the next is closed while those work', async () => {
  await using server = await startServer()
  const { port } = server
  const sockets = Array.from({ length: 200 }, () => connectTcp({ host: '127.0.0.1', port }))
  await Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
  const { ms } = await closingOf(connectTcp({ host: '127.0.0.1', port }))
  expect(ms).toBeLessThan(1000)
  sockets.pop()?.destroy()
  await expect
    .poll(async () =>
      server.fetch('/healthz').then(
        ({ status }) => status,
        () => 0,
      ),
    )
    .toBe(200)
  for (const socket of sockets) socket.destroy()
})

test('RL-5: IPv4 callers of an IPv6 socket are counted apart, each by its own address', async () => {
  await using server = await startServer({
    server: { host: '::ffff:127.0.0.1', baseUrl: 'https://localhost', maxConnectionsPerAddress: 2 },
  })
  const { port } = server
  const open = (localAddress: string) => connectTcp({ host: '127.0.0.1', port, localAddress })
  const held = [open('127.0.0.1'), open('127.0.0.1')]
  await Promise.all(held.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
  await closingOf(open('127.0.0.1'))
  const socket = connectTcp({ host: '127.0.0.1', port, localAddress: '127.0.0.2' })
  const other = connectTls({ socket, host: '127.0.0.1', ca: server.ca }, () =>
    other.write('GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
  )
  let answer = ''
  for await (const chunk of other.setEncoding('utf8')) answer += String(chunk)
  expect(answer).toMatch(/^HTTP\/1\.1 200 /)
  for (const socket of held) socket.destroy()
})
