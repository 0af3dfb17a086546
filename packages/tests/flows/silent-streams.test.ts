import { EventEmitter, on } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:tls'
import { createTRPCClient, httpSubscriptionLink } from '@trpc/client'
import { initTRPC, tracked } from '@trpc/server'
import { createClient } from '@trpc-login/client/node'
import { type AuthContext, createServer, transformer } from '@trpc-login/server'
import { createTestAuth } from '@trpc-login/server/testing'
import superjson from 'superjson'
import { Agent, EventSource, fetch } from 'undici'
import { afterEach, expect, test, vi } from 'vitest'
import { temporaryDirectory } from '../support/process.ts'

const PING_MS = 15_000
const END = 'end'
// What the server counts silence by; connections and clients keep the real time.
const COUNTED: ('setInterval' | 'clearInterval' | 'performance')[] = ['setInterval', 'clearInterval', 'performance']
const createPlain = () => initTRPC.context<AuthContext>().create()
const ROUTERS = {
  'with superjson': [superjson, () => initTRPC.context<AuthContext>().create({ transformer }) as unknown as ReturnType<typeof createPlain>],
  'without a transformer': [null, createPlain],
} as const
const NAMES = Object.keys(ROUTERS) as (keyof typeof ROUTERS)[]

afterEach(() => void vi.useRealTimers())

/** The events of the test, numbered. */
async function* subscribe(feed: EventEmitter, signal: AbortSignal | undefined) {
  let id = 0
  for await (const [event] of on(feed, 'event', { signal: signal ?? AbortSignal.abort() })) {
    if (event === END) return
    id += 1
    yield tracked(String(id), String(event))
  }
}

async function start(name: keyof typeof ROUTERS) {
  vi.useFakeTimers({ toFake: COUNTED })
  const [own, create] = ROUTERS[name]
  const auth = createTestAuth()
  const feed = new EventEmitter()
  const t = create()
  const router = t.router({ auth: auth.router, feed: t.procedure.subscription(({ signal }) => subscribe(feed, signal)) })
  const server = await createServer({ auth, router, port: 0, tls: { developmentDir: temporaryDirectory() } })
  const ca = readFileSync(server.caFile ?? '', 'utf8')
  const agent = new Agent({ connect: { ca } })
  const sdk = createClient<typeof router>({ url: server.url, ca, transformer: own })
  const stock = createTRPCClient<typeof router>({
    links: [
      httpSubscriptionLink({
        url: `${server.url}/api`,
        EventSource: EventSource as never,
        eventSourceOptions: { node: { dispatcher: agent } } as never,
        ...(own === null ? {} : { transformer: own }),
      } as never),
    ],
  })
  const clients = { sdk: sdk.api, stock }
  return {
    feed,
    /** All that a client is told, state by state. */
    listen(client: keyof typeof clients) {
      const told: string[] = []
      clients[client].feed.subscribe(undefined, {
        onData: ({ id, data }) => told.push(`${id} ${data}`),
        onConnectionStateChange: ({ state }) => told.push(state),
        onError: ({ message }) => told.push(message),
      })
      return told
    },
    /** The stream as it comes. */
    async read() {
      const { body, headers } = await fetch(`${server.url}/api/feed`, { dispatcher: agent })
      let text = ''
      void (async () => {
        for await (const chunk of body ?? []) text += Buffer.from(chunk as Uint8Array).toString()
      })().catch(() => {})
      return { headers, text: () => text }
    },
    /** Two streams, asked for at once on one connection. */
    readTwo() {
      const request = 'GET /api/feed HTTP/1.1\r\nHost: x\r\n'
      const socket = connect({ host: '127.0.0.1', port: server.port, ca })
      socket.write(`${request}\r\n${request}Connection: close\r\n\r\n`)
      let text = ''
      socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      return { text: () => text }
    },
    async [Symbol.asyncDispose]() {
      await sdk.close()
      await agent.destroy()
      await server.close()
    },
  }
}

const until = (condition: () => boolean) => vi.waitFor(() => expect(condition()).toBe(true), { timeout: 10_000, interval: 10 })

test.each(NAMES)('a silent event stream carries a comment each 15 s, one that speaks carries none, in a router %s', async (name) => {
  await using server = await start(name)
  const stream = await server.read()
  await until(() => server.feed.listenerCount('event') === 1 && stream.text().includes('event: connected'))
  for (let count = 1; count <= 4; count += 1) {
    vi.advanceTimersByTime(PING_MS)
    await until(() => stream.text().match(/^: ping$/gm)?.length === count)
  }
  for (let count = 1; count <= 8; count += 1) {
    server.feed.emit('event', `event ${count}`)
    await until(() => stream.text().includes(`"event ${count}"`))
    vi.advanceTimersByTime(PING_MS / 3)
  }
  expect(stream.text().match(/^: ping$/gm)).toHaveLength(4)
})

test.each(NAMES)('clients of a router %s hear of events alone, whole and in order, whatever comments stand between', async (name) => {
  await using server = await start(name)
  const told = [server.listen('sdk'), server.listen('stock')]
  await until(() => server.feed.listenerCount('event') === 2)
  const expected: string[] = []
  for (let count = 1; count <= 6; count += 1) {
    vi.advanceTimersByTime(PING_MS)
    const event = `: ping\n${count}${'x'.repeat(count * 50_000)}`
    server.feed.emit('event', event)
    // While it is on its way.
    vi.advanceTimersByTime(PING_MS)
    expected.push(`${count} ${event}`)
    await until(() => told.every((lines) => lines.includes(`${count} ${event}`)))
  }
  for (const lines of told) {
    expect(lines.filter((line) => line.includes('ping'))).toEqual(expected)
    expect(lines.filter((line) => !line.includes('ping'))).toEqual(['connecting', 'pending'])
  }
})

test('TL-2: an event stream carries the headers of every answer', async () => {
  await using server = await start('with superjson')
  const { headers } = await server.read()
  expect(Object.fromEntries(headers)).toMatchObject({
    'cache-control': 'no-store, no-transform',
    'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
    'content-type': 'text/event-stream',
    'referrer-policy': 'no-referrer',
    'strict-transport-security': 'max-age=31536000; includeSubDomains',
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
  })
})

test('a stream that waits behind another on its connection is not filled with comments', async () => {
  await using server = await start('with superjson')
  const streams = server.readTwo()
  await until(() => server.feed.listenerCount('event') === 2)
  const pings = () => streams.text().match(/^: ping$/gm)?.length
  for (let count = 1; count <= 4; count += 1) {
    vi.advanceTimersByTime(PING_MS)
    await until(() => pings() === count)
  }
  server.feed.emit('event', END)
  await until(() => streams.text().match(/event: return/g)?.length === 2)
  expect(pings()).toBe(4)
})
