import { setTimeout as wait } from 'node:timers/promises'
import { readAtMost } from './bounded-fetch.ts'
import type { Bounds, Fetch } from './platform.ts'

const PAUSE_MS = 1000

/**
 * A `fetch` for one event source. It hands on why the server refused the stream, of which an event source itself tells a status at
 * most: what a server says before a stream begins comes as the event by which tRPC ends one. And it connects once a second at most,
 * however soon the server asks to be called again.
 */
export function streamFetch(fetch: Fetch, headers: Readonly<Record<string, string>>, { timeoutMs, maxBytes }: Bounds): Fetch {
  let next = 0
  return async (input, init) => {
    const early = next - performance.now()
    if (early > 0) await wait(early, undefined, init?.signal ? { signal: init.signal } : {})
    next = performance.now() + PAUSE_MS
    const response = await fetch(input, { ...init, headers: { ...headers, ...Object.fromEntries(new Headers(init?.headers)) } })
    if (response.ok || response.headers.get('content-type')?.startsWith('application/json') !== true) return response
    try {
      const body = await readAtMost(response, maxBytes, AbortSignal.timeout(timeoutMs))
      const { error } = JSON.parse(await body.text()) as { error: unknown }
      return new Response(`event: serialized-error\ndata: ${JSON.stringify(error)}\n\n`, {
        headers: { 'content-type': 'text/event-stream' },
      })
    } catch {
      return new Response(null, { status: response.status })
    }
  }
}
