import { once } from 'node:events'
import { connect as connectTcp } from 'node:net'
import { duplexPair } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { expect, test } from 'vitest'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'

const GARBAGE = [
  Buffer.alloc(0),
  Buffer.from('GET / HTTP/1.1\r\n\r\n'),
  Buffer.from([22, 3, 1, 0, 5, 1, 0, 0, 1, 3]),
  Buffer.alloc(70_000, 22),
]

test('SH-4: connections that are reset at any moment, in a handshake, a request, an answer or a stream, stop nothing', async () => {
  await using server = await startServer()
  const { port, ca } = server
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const head = (target: string, method = 'GET') =>
    `${method} ${target} HTTP/1.1\r\nHost: x\r\nCookie: ${cookie}\r\nContent-Type: application/json\r\n`
  const requests = [
    head('/api/guarded'),
    `${head('/api/guarded')}\r\n`,
    `${head('/api/notauthFunc', 'POST')}Content-Length: 60000\r\n\r\n{"a":`,
    `${head('/api/notauthFunc', 'POST')}Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":`,
    `${head('/api/authFunc', 'POST')}Content-Length: 60000\r\n\r\n${JSON.stringify({ a: 'x'.repeat(59_992) })}`,
    `${head('/api/auth.login', 'POST')}Content-Length: 52\r\n\r\n{"username":"ada","password":"correct horse battery"}`,
    `${head('/api/waits')}Accept: text/event-stream\r\n\r\n`,
    `${head('/api/auth.events')}Accept: text/event-stream\r\n\r\n`,
  ]

  for (const bytes of GARBAGE) {
    const socket = connectTcp({ host: '127.0.0.1', port })
    socket.on('error', () => {})
    await once(socket, 'connect')
    await new Promise((resolve) => socket.write(bytes, resolve))
    socket.resetAndDestroy()
  }
  for (const request of requests) {
    for (const answered of [false, true]) {
      const tcp = connectTcp({ host: '127.0.0.1', port })
      // A socket that TLS has taken over can no longer be reset.
      const [inner, outer] = duplexPair()
      tcp.pipe(outer).pipe(tcp)
      const socket = connectTls({ socket: inner, host: '127.0.0.1', ca })
      for (const each of [tcp, inner, outer, socket]) each.on('error', () => {})
      await once(socket, 'secureConnect')
      await new Promise((resolve) => socket.write(request, resolve))
      // Where nothing can be answered yet, the next turn of the server is as good a moment as any.
      if (answered && request.endsWith('\r\n\r\n')) await once(socket, 'data')
      else if (answered) expect((await server.fetch('/healthz')).status).toBe(200)
      tcp.resetAndDestroy()
    }
  }

  expect((await server.post('authFunc', {}, { cookie })).status).toBe(200)
  expect(server.lines.filter(({ level }) => level === 'error')).toEqual([])
})
