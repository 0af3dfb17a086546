import { createCookieJar } from './cookie-jar.ts'
import type { Platform } from './platform.ts'

/** A jar for programs that have no browser to keep their cookies: of one origin, sent to no other. */
export const createCookies: Platform['createCookies'] = ({ fetch, origin, store, now }) => {
  const session = createCookieJar({ name: '__Host-session', origin, store, now })
  // For sign-ins with providers; they end with the program, so nobody needs to find it later.
  const jars = [session, createCookieJar({ name: '__Host-sign-in', origin, store: null, now })]
  return {
    async fetch(input, init) {
      const url = new URL(input instanceof Request ? input.url : input)
      if (url.origin !== origin) throw new TypeError(`this client calls ${origin} alone, not ${url.origin}`)
      const headers = new Headers(init?.headers)
      const sent = await Promise.all(jars.map((jar) => jar.read()))
      const pairs = jars.flatMap(({ name }, index) => (sent[index] == null ? [] : [`${name}=${sent[index]}`]))
      if (pairs.length > 0) headers.set('cookie', pairs.join('; '))
      const response = await fetch(input, { ...init, headers, redirect: 'error' })
      const received = response.headers.getSetCookie()
      for (const [index, jar] of jars.entries()) await jar.receive(received, sent[index] ?? null)
      return response
    },
    get version() {
      return session.version
    },
    renew: session.renew,
    clear: session.clear,
  }
}
