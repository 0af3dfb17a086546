import type { CookieJar } from './cookie-jar.ts'

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/**
 * A `fetch` for one origin that carries the session cookie. Redirects are errors, so that neither the cookie nor a body ever
 * reaches another place; without a jar the browser keeps the cookie.
 */
export function createCookieFetch(deps: { fetch: Fetch; origin: string; jar: CookieJar | null }): Fetch {
  const { fetch, origin, jar } = deps
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input)
    if (url.origin !== origin) throw new TypeError(`this client calls ${origin} alone, not ${url.origin}`)
    if (jar === null) return fetch(input, { ...init, credentials: 'include', redirect: 'error' })
    const headers = new Headers(init?.headers)
    const sent = await jar.read()
    if (sent !== null) headers.set('cookie', `__Host-session=${sent}`)
    const response = await fetch(input, { ...init, headers, redirect: 'error' })
    await jar.receive(response.headers.getSetCookie(), sent)
    return response
  }
}
