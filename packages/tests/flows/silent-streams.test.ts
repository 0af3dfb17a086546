import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { connect } from 'node:tls'
import { createTRPCClient, httpSubscriptionLink } from '@trpc/client'
import { initTRPC } from '@trpc/server'
import { createClient } from '@trpc-login/client/node'
import { type AuthContext, formatAuthError, transformer } from '@trpc-login/server'
import { createTestAuth } from '@trpc-login/server/testing'
import superjson from 'superjson'
import { Agent, fetch } from 'undici'
import { expect, test } from 'vitest'
import { createDirectPath } from '../../server/src/http/direct.ts'
import { createServerWith } from '../../server/src/http/server.ts'
import { temporaryDirectory } from '../support/process.ts'

// tRPC's own link takes an event source that is given to it; the one of the SDK stands for a browser's.
const { resolve: resolveFromClient } = createRequire(new URL('../../client/package.json', import.meta.url))
const { EventSource } = (await import(resolveFromClient('eventsource'))) as {
  EventSource: new (url: string | URL, init: object) => EventSource
}
const PINGS = 3
const LONG = 'ünïcödé '.repeat(20_000)

/** A server whose streams count as silent soon, and wait until comments have been written between their items. */
async function start() {
  const auth = createTestAuth()
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const silence = { over: Promise.withResolvers<void>() }
  const router = t.router({
    auth: auth.router,
    speaks: t.procedure.subscription(async function* () {
      yield { text: 'first', at: new Date(0) }
      await silence.over.promise
      yield { text: LONG, at: new Date(1) }
    }),
  })
  const options = { auth, router, port: 0, tls: { developmentDir: temporaryDirectory() } }
  const server = await createServerWith(createDirectPath, options, { sweepMs: 10, silentMs: 20 })
  const ca = readFileSync(server.caFile ?? '', 'utf8')

  /** The bytes of the stream, until it ends; its silence is over after some comments. */
  async function read(): Promise<string> {
    const socket = connect({ host: '127.0.0.1', port: server.port, ca })
    socket.write('GET /api/speaks HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n')
    let text = ''
    for await (const chunk of socket.setEncoding('utf8')) {
      text += String(chunk)
      if ((text.match(/: ping\n/g) ?? []).length >= PINGS) silence.over.resolve()
      if (text.includes('event: return')) break
    }
    return text
  }
  return { router, server, ca, read, [Symbol.asyncDispose]: () => server.close() }
}

const ITEMS = [
  { text: 'first', at: new Date(0) },
  { text: LONG, at: new Date(1) },
]

test('a silent event stream carries comments, which no client takes for anything else', async () => {
  await using app = await start()
  const { router, server, ca, read } = app
  const agent = new Agent({ connect: { ca } })
  const ours = createClient<typeof router>({ url: server.url, ca })
  const withCa = (input: string | URL, init: object) => fetch(input, { ...init, dispatcher: agent }) as unknown as Promise<Response>
  class TrustingSource extends EventSource {
    constructor(url: string | URL) {
      super(url, { fetch: withCa })
    }
  }
  const stock = createTRPCClient<typeof router>({
    links: [httpSubscriptionLink({ url: `${server.url}/api`, transformer: superjson, EventSource: TrustingSource as never })],
  })
  const heard = [ours.api, stock].map(
    (api) =>
      new Promise<unknown[]>((resolve, reject) => {
        const items: unknown[] = []
        api.speaks.subscribe(undefined, { onData: (item) => items.push(item), onComplete: () => resolve(items), onError: reject })
      }),
  )
  const bytes = read()
  expect(await Promise.all(heard)).toEqual([ITEMS, ITEMS])
  expect((await bytes).match(/: ping\n/g)?.length).toBeGreaterThanOrEqual(PINGS)
  await Promise.all([ours.close(), agent.destroy()])
})
