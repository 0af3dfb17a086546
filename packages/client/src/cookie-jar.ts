import { parseSetCookie } from 'cookie'

/** The cookies of a trpc-login server, and no others. */
export type CookieName = '__Host-session' | '__Host-sign-in'

// What may stand in a cookie (RFC 6265 section 4.1.1): any other text would end up in the message of a header that is refused.
const VALUE = /^[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]{1,4096}$/
// As browsers cap it (RFC 6265bis).
const MAX_AGE_MS = 400 * 24 * 60 * 60_000

/** A session cookie as it is kept: `expiresAt` in milliseconds, `null` for one without `Max-Age`. */
export interface StoredCookie {
  readonly value: string
  readonly expiresAt: number | null
}

/** Keeps a session cookie between runs of a program, per exact origin. */
export interface CookieStore {
  load(origin: string): Promise<StoredCookie | null>
  /** `null` removes the cookie; only the one with the value `replaces`, where that is given and the store can tell. */
  save(origin: string, cookie: StoredCookie | null, replaces?: string): Promise<void>
}

/** One cookie of one exact origin. */
export interface CookieJar {
  readonly name: CookieName
  /** Grows with each new value. */
  readonly version: number
  /** The value for the next request, or `null`. */
  read(): Promise<string | null>
  /** Takes what a response sets; `sent` is what its request carried. */
  receive(setCookies: readonly string[], sent: string | null): Promise<void>
  /** Takes the value that another program has left in the store meanwhile, if there is one. */
  renew(): Promise<boolean>
  clear(): Promise<void>
}

/** The value lives in a closure, so that printing the jar or what holds it never shows the token. */
export function createCookieJar(deps: { name: CookieName; origin: string; store: CookieStore | null; now: () => number }): CookieJar {
  const { name, origin, store, now } = deps
  let cookie: StoredCookie | null = null
  let version = 0
  let loaded: Promise<void> | undefined

  function load(): Promise<void> {
    loaded ??= (async () => {
      cookie = asCookie(await store?.load(origin))
    })()
    return loaded
  }

  async function keep(next: StoredCookie): Promise<void> {
    cookie = next
    version += 1
    await store?.save(origin, next)
  }

  async function renew(): Promise<boolean> {
    const found = asCookie(await store?.load(origin))
    if (found === null || found.value === cookie?.value) return false
    cookie = found
    version += 1
    return true
  }

  /** Lets go of the value, and in the store of no other: a program beside this one may have put its own there. */
  async function clear(): Promise<void> {
    if (cookie === null) return
    const { value } = cookie
    cookie = null
    const found = await store?.load(origin)
    if (found?.value === value) await store?.save(origin, null, value)
  }

  return {
    name,
    get version() {
      return version
    },
    async read() {
      await load()
      if (cookie !== null && cookie.expiresAt !== null && cookie.expiresAt <= now()) await clear()
      return cookie?.value ?? null
    },
    async receive(setCookies, sent) {
      await load()
      for (const text of setCookies) {
        const received = accept(text, name, now())
        if (received === undefined) continue
        if (received !== null) await keep(received)
        // A late answer to the old cookie must not delete the one that replaced it.
        else if ((cookie?.value ?? null) === sent) await clear()
      }
    },
    renew,
    clear,
  }
}

/** The cookie that a `Set-Cookie` line holds, `null` when it deletes ours, `undefined` when it is none of ours. */
function accept(text: string, own: CookieName, now: number): StoredCookie | null | undefined {
  // Byte for byte: a decoded value would not be the one that the server knows.
  const { name, value = '', domain, path, secure, maxAge, expires } = parseSetCookie(text, { decode: (raw) => raw })
  if (name !== own || domain !== undefined || path !== '/' || secure !== true) return undefined
  const until = maxAge === undefined ? (expires?.getTime() ?? NaN) : now + maxAge * 1000
  const expiresAt = Number.isNaN(until) ? null : Math.min(until, now + MAX_AGE_MS)
  if (value === '' || (expiresAt !== null && expiresAt <= now)) return null
  return VALUE.test(value) ? { value, expiresAt } : undefined
}

/** What a store gave, if it is a cookie. */
function asCookie(found: StoredCookie | null | undefined): StoredCookie | null {
  if (found === null || found === undefined) return null
  const { value, expiresAt } = found
  return typeof value === 'string' && VALUE.test(value) && (expiresAt === null || Number.isFinite(expiresAt)) ? { value, expiresAt } : null
}
