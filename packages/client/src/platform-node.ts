import './require-node.ts'
import { EventSource } from 'eventsource'
import { boundedFetch } from './bounded-fetch.ts'
import { createCookies } from './cookie-fetch.ts'
import { goToProvider } from './loopback.ts'
import type { Fetch, Platform } from './platform.ts'
import { streamFetch } from './stream-fetch.ts'
import { createAgent } from './tls.ts'

let verifying: Fetch | undefined

/** The global fetch, which an environment variable can keep from looking at certificates; then one of our own, which looks. */
const fetch: Fetch = (input, init) => {
  if (process.env['NODE_TLS_REJECT_UNAUTHORIZED'] !== '0') return globalThis.fetch(input, init)
  verifying ??= createAgent().fetch
  return verifying(input, init)
}

export const platform: Platform = {
  fetch,
  createCookies,
  bound: boundedFetch,
  goToProvider,
  openSource: (url, { fetch, headers, bounds }) =>
    new EventSource(url, { fetch: streamFetch(fetch, headers, bounds), maxBufferSize: bounds.maxBytes }),
}
