import { readAtMost } from './bounded-fetch.ts'
import type { Bounds, Fetch } from './platform.ts'

/**
 * A `fetch` for event streams that hands on why the server refused one: an event source itself tells a status at most. What a server
 * says before a stream begins comes as the event by which tRPC ends one.
 */
export function refusalsAsEvents(fetch: Fetch, { timeoutMs, maxBytes }: Bounds): Fetch {
  return async (input, init) => {
    const response = await fetch(input, init)
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
