import type { EventSource as NodeEventSource } from 'eventsource'
import type { createCookieJar } from './cookie-jar.ts'
import type { SignInWithOptions } from './session.ts'

/** The way to a provider and back; `finish` takes what came back, where it comes back to this program. */
export type GoToProvider = <S>(
  steps: { begin(loopback: { loopbackPort?: number }): Promise<{ url: string }>; finish(parameters: Record<string, string>): Promise<S> },
  options: SignInWithOptions,
) => Promise<S>

/** What differs between a browser and Node. */
export interface Platform {
  /** `null` in browsers: there the cookie is invisible to scripts, and the browser keeps it. */
  readonly createCookieJar: typeof createCookieJar | null
  readonly goToProvider: GoToProvider
  readonly EventSource: typeof globalThis.EventSource | typeof NodeEventSource
}
