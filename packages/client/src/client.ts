import { createTRPCClient, type TRPCClient } from '@trpc/client'
import type { AnyRouter, inferRouterOutputs, TRPCDataTransformer } from '@trpc/server'
import type { Unsubscribable } from '@trpc/server/observable'
import { platform } from '#platform'
import { parseBaseUrl } from './base-url.ts'
import type { CookieStore } from './cookie-jar.ts'
import type { Fetch } from './platform.ts'
import { type ClientSession, createSession } from './session.ts'
import { sessionLink } from './session-link.ts'
import { createTransport } from './transport.ts'

/** Who is signed in, as the application's own router says: the output of its `auth.me`. */
export type SignedInOf<TRouter extends AnyRouter> =
  inferRouterOutputs<TRouter> extends { auth: { me: infer Me } } ? NonNullable<Me> : unknown

/** How a client is set up. */
export interface ClientOptions<TRouter extends AnyRouter> {
  /** The server's origin, meaning its `/api`, or the whole base such as `https://host/trpc`. */
  readonly url: string | URL
  /** Where the procedures are, beside a `url` that is an origin: `/` where they stand at its root. @default '/api' */
  readonly basePath?: string
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
  /** How long a request may take in all, its answer included; streams may go on. @default 30 seconds */
  readonly timeoutMs?: number
  /** How long an answer, or an event of a stream, may be. Not for browsers, which see to their memory themselves. @default 16 MiB */
  readonly maxResponseBytes?: number
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
  const { origin, base } = parseBaseUrl(options)
  const { authPath = 'auth', fetch = platform.fetch, store = null, now = Date.now, recover } = options
  const { timeoutMs = 30_000, maxResponseBytes = 16 * 1024 * 1024 } = options
  if (!(timeoutMs > 0 && timeoutMs < 2 ** 31 && maxResponseBytes > 0))
    throw new TypeError('timeoutMs and maxResponseBytes must be positive')
  const bounds = { timeoutMs, maxBytes: maxResponseBytes }
  const cookies = platform.createCookies({ fetch, origin, store, now })
  const transport = createTransport({ ...options, base, authPath, fetch: cookies.fetch, bounds })
  const open = new Set<Unsubscribable>()
  let closed = false

  const { session, recorder } = createSession<SignedInOf<TRouter>>({
    refresh: () => call<SignedInOf<TRouter> | null>('me'),
    signInWith: (provider, { returnTo, remember, link, ...options } = {}) =>
      platform.goToProvider(
        {
          async begin(loopback) {
            const { url } = await call<{ url: string }>('oauth.begin', { provider, returnTo, remember, link, ...loopback })
            // It is opened: what else an address can be would run, or write to a terminal.
            const { protocol, href } = new URL(url)
            if (!/^https?:/.test(protocol)) throw new TypeError(`sign-in address with ${protocol}`)
            return { url: href }
          },
          finish: (parameters) => call<SignedInOf<TRouter>>('oauth.finish', { provider, parameters }),
        },
        options,
      ),
  })
  const renew = once(async () => (await cookies.renew()) && session.refresh())
  const shared = { authPath, recorder, cookies, renew, open, signingIn: new Set<Promise<void>>(), isClosed: () => closed }
  const plainApi = createTRPCClient<TRouter>({ links: [sessionLink(shared, null), transport] })
  const recoverOnce = recover === undefined ? null : once(() => recover(plainApi))
  const api = createTRPCClient<TRouter>({ links: [sessionLink(shared, recoverOnce), transport] })

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
    },
  }
}

/** Runs one at a time: whoever asks meanwhile gets the same. */
function once(run: () => Promise<unknown>): () => Promise<unknown> {
  let running: Promise<unknown> | undefined
  return () =>
    (running ??= run().finally(() => {
      running = undefined
    }))
}
