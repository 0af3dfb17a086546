import type { EventSource as NodeEventSource } from 'eventsource'
import type { createCookieJar } from './cookie-jar.ts'

/** What differs between a browser and Node. */
export interface Platform {
  /** `null` in browsers: there the cookie is invisible to scripts, and the browser keeps it. */
  readonly createCookieJar: typeof createCookieJar | null
  readonly EventSource: typeof globalThis.EventSource | typeof NodeEventSource
}
