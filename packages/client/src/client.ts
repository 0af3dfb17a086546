import { createTRPCClient, httpBatchLink, httpLink, splitLink, type TRPCClient, type TRPCLink } from '@trpc/client'
import type { AnyRouter, inferRouterOutputs, TRPCDataTransformer } from '@trpc/server'
import type { Unsubscribable } from '@trpc/server/observable'
import superjson from 'superjson'
import { platform } from '#platform'
import { createCookieFetch, type Fetch } from './cookie-fetch.ts'
import type { CookieStore } from './cookie-jar.ts'
import { type ClientSession, createSession } from './session.ts'
import { sessionLink, travelsAlone } from './session-link.ts'
import { subscriptionLink } from './subscription-link.ts'

const MAX_BATCH = 10
const MAX_URL = 8000

/** Who is signed in, as the application's own router says: the output of its `auth.me`. */
export type SignedInOf<TRouter extends AnyRouter> =
  inferRouterOutputs<TRouter> extends { auth: { me: infer Me } } ? NonNullable<Me> : unknown

/** How a client is set up. */
export interface ClientOptions<TRouter extends AnyRouter> {
  /** The server's origin, meaning its `/api`, or the whole base such as `https://host/trpc`. */
  readonly url: string | URL
  /** What sends requests. @default the platform's `fetch` */
  readonly fetch?: Fetch
  /** Sent with each request, but for subscriptions in browsers. */
  readonly headers?: Readonly<Record<string, string>>
  /** Where the application mounted the auth router. @default 'auth' */
  readonly authPath?: string
  /** The application's transformer; `null` for none. @default superjson */
  readonly transformer?: TRPCDataTransformer | null
  /** Gets an ended session back, by signing in again with the client it is given; the failed calls are then sent once more. */
  readonly recover?: (api: TRPCClient<TRouter>) => Promise<unknown>
  /** Keeps the cookie between runs; without one it lives as long as the client. Not for browsers, which keep it themselves. */
  readonly store?: CookieStore
  /** Allows `http:` on a loopback address, for tests. @default false */
  readonly allowInsecureLoopback?: boolean
  /** @default Date.now */
  readonly now?: () => number
}

/** A typed client that keeps the session. */
export interface Client<TRouter extends AnyRouter> {
  /** The application's procedures. */
  readonly api: TRPCClient<TRouter>
  readonly session: ClientSession<SignedInOf<TRouter>>
  /** Ends subscriptions and calls under way; later calls fail. The session itself goes on. */
  readonly close: () => Promise<void>
}

/**
 * Calls a tRPC application that uses trpc-login, and keeps its session: in Node in a jar of its own, in browsers in the browser's.
 * @throws TypeError when the URL is not one that a session may be sent to
 */
export function createClient<TRouter extends AnyRouter>(options: ClientOptions<TRouter>): Client<TRouter> {
  const url = parseUrl(options)
  const { authPath = 'auth', fetch = globalThis.fetch.bind(globalThis), store = null, now = Date.now } = options
  const { origin } = url
  const jar = platform.createCookieJar?.({ name: '__Host-session', origin, store, now }) ?? null
  // For sign-ins with a provider; they end with the program, so nobody needs to find it later.
  const signInJar = platform.createCookieJar?.({ name: '__Host-sign-in', origin, store: null, now }) ?? null
  const cookieFetch = createCookieFetch({ fetch, origin, jars: jar === null || signInJar === null ? null : [jar, signInJar] })
  const transport = createTransport(options, url.href, authPath, cookieFetch)
  const open = new Set<Unsubscribable>()
  let closed = false
  let recovering: Promise<void> | null = null

  const { session, recorder } = createSession<SignedInOf<TRouter>>({
    refresh: () => call<SignedInOf<TRouter> | null>('me'),
    signInWith: (provider, { returnTo, remember, link, ...options } = {}) =>
      platform.goToProvider(
        {
          begin: (loopback) => call<{ url: string }>('oauth.begin', { provider, returnTo, remember, link, ...loopback }),
          finish: (parameters) => call<SignedInOf<TRouter>>('oauth.finish', { provider, parameters }),
        },
        options,
      ),
  })
  const link = (recover: (() => Promise<void>) | null): TRPCLink<TRouter> =>
    sessionLink({
      authPath,
      recorder,
      forget: async () => jar?.clear(),
      recover,
      open,
      isClosed: () => closed,
    })
  const plainApi = createTRPCClient<TRouter>({ links: [link(null), transport] })
  const recoverOnce = () => {
    recovering ??= (async () => options.recover?.(plainApi))()
      .then(() => undefined)
      .finally(() => {
        recovering = null
      })
    return recovering
  }
  const api = createTRPCClient<TRouter>({ links: [link(options.recover === undefined ? null : recoverOnce), transport] })

  // The path is known only at run time, so the typed proxy cannot name it.
  const call = async <T>(name: string, input?: object): Promise<T> => {
    const procedure = `${authPath}.${name}`.split('.').reduce<unknown>((proxy, key) => (proxy as Record<string, unknown>)[key], api)
    const { query, mutate } = procedure as { query(): Promise<T>; mutate(input: object): Promise<T> }
    return input === undefined ? query() : mutate(input)
  }

  return {
    api,
    session,
    async close() {
      closed = true
      for (const handle of open) handle.unsubscribe()
      await recovering?.catch(() => undefined)
    },
  }
}

function createTransport<TRouter extends AnyRouter>(
  options: ClientOptions<TRouter>,
  url: string,
  authPath: string,
  fetch: Fetch,
): TRPCLink<TRouter> {
  const transformer = options.transformer === undefined ? superjson : options.transformer
  // Whether a transformer belongs here depends on TRouter, which is not known in a generic function.
  const common = { url, ...(transformer === null ? {} : { transformer }) } as never as { url: string }
  const http = { ...common, fetch, headers: options.headers ?? {} } as never
  return splitLink({
    condition: ({ type }) => type === 'subscription',
    true: subscriptionLink({
      url,
      transformer,
      EventSource: platform.EventSource,
      fetch: withHeaders(fetch, options.headers),
    }) as TRPCLink<TRouter>,
    false: splitLink({
      condition: ({ path }) => travelsAlone(path, authPath),
      true: httpLink(http),
      false: httpBatchLink({ ...(http as object), maxItems: MAX_BATCH, maxURLLength: MAX_URL } as never),
    }),
  })
}

function withHeaders(fetch: Fetch, headers: Readonly<Record<string, string>> = {}): Fetch {
  return (input, init) => fetch(input, { ...init, headers: { ...headers, ...Object.fromEntries(new Headers(init?.headers)) } })
}

function parseUrl({ url: given, allowInsecureLoopback = false }: Pick<ClientOptions<AnyRouter>, 'url' | 'allowInsecureLoopback'>): URL {
  const url = URL.parse(String(given))
  const loopback = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url?.hostname ?? '')
  if (url === null || url.username !== '' || url.search !== '' || url.hash !== '') {
    throw new TypeError(`url must be like https://example.com or https://example.com/api, got ${JSON.stringify(String(given))}`)
  }
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && allowInsecureLoopback && loopback)) {
    throw new TypeError(`url must begin with https://, got ${JSON.stringify(String(given))}`)
  }
  if (url.pathname === '/') url.pathname = '/api'
  url.pathname = url.pathname.replace(/\/+$/, '')
  return url
}
