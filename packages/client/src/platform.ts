import type { EventSource as NodeEventSource } from 'eventsource'

/** What differs between a browser and Node. */
export interface Platform {
  /** In browsers the cookie is invisible to scripts, and the browser keeps it. */
  readonly keepsCookies: boolean
  readonly EventSource: typeof globalThis.EventSource | typeof NodeEventSource
}
