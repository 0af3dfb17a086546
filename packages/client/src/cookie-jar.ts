import { parseSetCookie } from 'cookie'

/** The cookies of a trpc-login server, and no others. */
export type CookieName = '__Host-session' | '__Host-sign-in'

const MAX_VALUE = 4096

/** A session cookie as it is kept: `expiresAt` in milliseconds, `null` for one without `Max-Age`. */
export interface StoredCookie {
  readonly value: string
  readonly expiresAt: number | null
}

/** Keeps a session cookie between runs of a program, per exact origin. */
export interface CookieStore {
  load(origin: string): Promise<StoredCookie | null>
  save(origin: string, cookie: StoredCookie | null): Promise<void>
}

/** One cookie of one exact origin. */
export interface CookieJar {
  readonly name: CookieName
  /** The value for the next request, or `null`. */
  read(): Promise<string | null>
  /** Takes what a response sets; `sent` is what its request carried. */
  receive(setCookies: readonly string[], sent: string | null): Promise<void>
  clear(): Promise<void>
}

/** The value lives in a closure, so that printing the jar or what holds it never shows the token. */
export function createCookieJar(deps: { name: CookieName; origin: string; store: CookieStore | null; now: () => number }): CookieJar {
  const { name, origin, store, now } = deps
  let cookie: StoredCookie | null = null
  let loaded: Promise<void> | undefined

  function load(): Promise<void> {
    loaded ??= store === null ? Promise.resolve() : store.load(origin).then((found) => void (cookie = found))
    return loaded
  }

  async function keep(next: StoredCookie | null): Promise<void> {
    cookie = next
    await store?.save(origin, next)
  }

  return {
    name,
    async read() {
      await load()
      if (cookie !== null && cookie.expiresAt !== null && cookie.expiresAt <= now()) await keep(null)
      return cookie?.value ?? null
    },
    async receive(setCookies, sent) {
      for (const text of setCookies) {
        const received = accept(text, name, now())
        if (received === undefined) continue
        // A late answer to the old cookie must not delete the one that replaced it.
        if (received === null && (cookie?.value ?? null) !== sent) continue
        await keep(received)
      }
    },
    clear: () => keep(null),
  }
}

/** The cookie that a `Set-Cookie` line holds, `null` when it deletes ours, `undefined` when it is none of ours. */
function accept(text: string, own: CookieName, now: number): StoredCookie | null | undefined {
  // Byte for byte: a decoded value would not be the one that the server knows.
  const { name, value = '', domain, path, secure, maxAge, expires } = parseSetCookie(text, { decode: (raw) => raw })
  if (name !== own || domain !== undefined || path !== '/' || secure !== true || value.length > MAX_VALUE) return undefined
  const expiresAt = maxAge === undefined ? (expires?.getTime() ?? null) : now + maxAge * 1000
  return value === '' || (expiresAt !== null && expiresAt <= now) ? null : { value, expiresAt }
}
