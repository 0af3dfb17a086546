import type { CookieJar } from './cookie-jar.ts'

export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>

/**
 * A `fetch` for one origin that carries its cookies. Redirects are errors, so that neither a cookie nor a body ever
 * reaches another place; without jars the browser keeps the cookies.
 */
export function createCookieFetch(deps: { fetch: Fetch; origin: string; jars: readonly CookieJar[] | null }): Fetch {
  const { fetch, origin, jars } = deps
  return async (input, init) => {
    const url = new URL(input instanceof Request ? input.url : input)
    if (url.origin !== origin) throw new TypeError(`this client calls ${origin} alone, not ${url.origin}`)
    if (jars === null) return fetch(input, { ...init, credentials: 'include', redirect: 'error' })
    const headers = new Headers(init?.headers)
    const sent = await Promise.all(jars.map((jar) => jar.read()))
    const pairs = jars.flatMap(({ name }, index) => (sent[index] == null ? [] : [`${name}=${sent[index]}`]))
    if (pairs.length > 0) headers.set('cookie', pairs.join('; '))
    const response = await fetch(input, { ...init, headers, redirect: 'error' })
    const received = response.headers.getSetCookie()
    for (const [index, jar] of jars.entries()) await jar.receive(received, sent[index] ?? null)
    return response
  }
}
