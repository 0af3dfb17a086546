import type { Bounds, Fetch } from './platform.ts'

/**
 * A `fetch` whose answers are whole when they are there. They carry no cookies: errors show what they were made of.
 * @throws Error when one takes too long, or is too long, as a server that is broken or hostile would have it
 */
export function boundedFetch(fetch: Fetch, { timeoutMs, maxBytes }: Bounds): Fetch {
  return async (input, init) => {
    const late = AbortSignal.timeout(timeoutMs)
    const signal = init?.signal ? AbortSignal.any([init.signal, late]) : late
    try {
      const response = await fetch(input, { ...init, signal })
      const headers = new Headers(response.headers)
      headers.delete('set-cookie')
      return new Response(await readAtMost(response, maxBytes, signal), { status: response.status, headers })
    } catch (cause) {
      throw late.aborted ? new Error(`no whole answer within ${timeoutMs} ms`, { cause }) : cause
    }
  }
}

/** The body of an answer. @throws Error when it is too long */
export async function readAtMost(response: Response, maxBytes: number, signal: AbortSignal): Promise<Blob> {
  const reader = response.body?.getReader()
  const chunks: BlobPart[] = []
  let size = 0
  for (;;) {
    const { value } = (await reader?.read()) ?? {}
    if (value === undefined) return new Blob(chunks)
    chunks.push(value)
    size += value.length
    if (size <= maxBytes && !signal.aborted) continue
    await reader?.cancel()
    signal.throwIfAborted()
    throw new Error(`the answer is longer than ${maxBytes} bytes`)
  }
}
