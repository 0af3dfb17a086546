import type { CookieStore } from './cookie-jar.ts'
import type { SignInWithOptions } from './session.ts'

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/** The way to a provider and back; `finish` takes what came back, where it comes back to this program. */
export type GoToProvider = <S>(
  steps: { begin(loopback: { loopbackPort?: number }): Promise<{ url: string }>; finish(parameters: Record<string, string>): Promise<S> },
  options: SignInWithOptions,
) => Promise<S>

/** How long a request may take in all, and how long its answer may be. */
export interface Bounds {
  readonly timeoutMs: number
  readonly maxBytes: number
}

/** What keeps the cookies of one origin. */
export interface Cookies {
  /** Sends requests to that origin alone, with its cookies. Redirects are errors: neither a cookie nor a body reaches another place. */
  readonly fetch: Fetch
  /** Grows when the session's token is replaced, as far as this program can see it. */
  readonly version: number
  /** Takes the token that another program has left in the store meanwhile, if there is one. */
  renew(): Promise<boolean>
  /** Lets go of the session's token. */
  clear(): Promise<void>
}

/** The part of an event source that is used here, own or shared. */
export type Source = Pick<EventSource, 'readyState' | 'CLOSED' | 'close'> & {
  addEventListener(name: string, listener: (event: Event) => void): void
}

/** What differs between a browser and Node. */
export interface Platform {
  readonly fetch: Fetch
  createCookies(deps: { fetch: Fetch; origin: string; store: CookieStore | null; now: () => number }): Cookies
  bound(fetch: Fetch, bounds: Bounds): Fetch
  readonly goToProvider: GoToProvider
  /** `isShared` asks for one stream for all tabs of the page's origin, where the browser can do that. */
  openSource(url: string, options: { fetch: Fetch; headers: Readonly<Record<string, string>>; bounds: Bounds; isShared: boolean }): Source
}
