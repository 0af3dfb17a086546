import { Agent, fetch } from 'undici'
import type { Fetch } from './platform.ts'

// A stream of which nothing is heard for so long is connected anew.
const IDLE_MS = 5 * 60_000
const MAX_HEADERS = 16 * 1024

/** Certificates to trust in place of the public ones, PEM. */
export type Authorities = string | Buffer | readonly (string | Buffer)[]

/** A `fetch` that verifies certificates, whatever the environment says. undici's own: its agent does not fit every Node's built-in one. */
export function createAgent(ca?: Authorities): { fetch: Fetch; close(): Promise<void> } {
  const trusted = ca === undefined ? {} : { ca: typeof ca === 'string' || Buffer.isBuffer(ca) ? ca : [...ca] }
  const connect = { ...trusted, rejectUnauthorized: true }
  const agent = new Agent({ connect, allowH2: false, maxHeaderSize: MAX_HEADERS, bodyTimeout: IDLE_MS })
  return {
    fetch: (input, init) => fetch(input as string, { ...(init as object), dispatcher: agent }) as unknown as Promise<Response>,
    close: () => agent.close(),
  }
}
