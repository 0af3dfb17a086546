import { createTRPCClient, httpBatchLink, httpBatchStreamLink, httpLink, httpSubscriptionLink, splitLink } from '@trpc/client'
import superjson from 'superjson'
import { Agent, EventSource, fetch as undiciFetch } from 'undici'
import { expect, onTestFinished, test } from 'vitest'
import { type AppRouter, cookieOf, PASSWORD, startServer, type TestServer } from '../support/server.ts'

const LINKS = { httpLink, httpBatchLink, httpBatchStreamLink } as const

/** A client of tRPC's own, with a session that was begun elsewhere. */
function stockClient({ ca }: TestServer, link: keyof typeof LINKS, url: string, cookie: string) {
  const agent = new Agent({ connect: { ca } })
  onTestFinished(() => agent.destroy())
  const fetch = (input: unknown, init: object) => undiciFetch(input as string, { ...init, dispatcher: agent })
  const dispatcher = agent.compose(
    (dispatch) => (options, handler) => dispatch({ ...options, headers: withCookie(options.headers, cookie) }, handler),
  )
  return createTRPCClient<AppRouter>({
    links: [
      splitLink({
        condition: ({ type }) => type === 'subscription',
        true: httpSubscriptionLink({
          url,
          transformer: superjson,
          EventSource: EventSource as never,
          eventSourceOptions: { node: { dispatcher } } as never,
        }),
        false: LINKS[link]({ url, transformer: superjson, fetch: fetch as never, headers: { cookie } }),
      }),
    ],
  })
}

function withCookie(headers: unknown, cookie: string): Record<string, string> {
  return { ...Object.fromEntries(new Headers(headers as Headers)), cookie }
}

type Api = ReturnType<typeof stockClient>
const firstTick = (api: Api) =>
  new Promise((resolve, reject) => {
    const stream = api.ticks.subscribe(undefined, {
      onData(tick) {
        stream.unsubscribe()
        resolve(tick)
      },
      onError: reject,
    })
  })

test.each([
  ['/', ''],
  ['/trpc', '/trpc'],
  ['/api', '/api'],
] as const)('a server at %s is called by every client, and health and callbacks stand where they always do', async (basePath, prefix) => {
  await using server = await startServer({ server: { basePath } })
  const sdk = server.client({ basePath })
  await sdk.api.auth.login.mutate({ username: 'ada', password: PASSWORD })
  const login = await server.fetch(`${prefix}/auth.login`, {
    method: 'POST',
    body: JSON.stringify({ username: 'ada', password: PASSWORD }),
    headers: { 'content-type': 'application/json', accept: 'application/json' },
  })
  const cookie = cookieOf(login.headers)
  const stock = (Object.keys(LINKS) as (keyof typeof LINKS)[]).map((link) => stockClient(server, link, `${server.url}${prefix}`, cookie))
  for (const api of [sdk.api, ...stock]) {
    expect(await Promise.all([api.open.query(), api.guarded.query()])).toEqual([{ at: new Date(0) }, 'ada'])
    expect(await api.authFunc.mutate({})).toMatchObject({ ok: true })
    expect(await firstTick(api)).toEqual({ n: 0, at: new Date(0), username: 'ada' })
  }
  const statuses = ['/healthz', '/readyz', '/oauth/google/callback', '/nope/open', `${prefix}//open`].map(
    async (path) => (await server.fetch(path)).status,
  )
  expect(await Promise.all(statuses)).toEqual([200, 200, 404, 404, 404])
})
