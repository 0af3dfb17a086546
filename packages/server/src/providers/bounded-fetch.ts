import { ProviderUnreachable } from './provider.ts'

const MAX_MS = 5000
const MAX_BYTES = 1024 * 1024

/**
 * `fetch` for calls to providers: https alone, no redirects, five seconds and one megabyte at most (ASVS 15.3.2).
 * @throws ProviderUnreachable for all of these, and where the provider says that it cannot answer now
 */
export async function boundedFetch(url: string, init: RequestInit = {}): Promise<Response> {
  if (!url.startsWith('https://')) throw new ProviderUnreachable(`${url} does not begin with https://`)
  const signal = AbortSignal.any([AbortSignal.timeout(MAX_MS), ...(init.signal == null ? [] : [init.signal])])
  try {
    const response = await fetch(url, { ...init, redirect: 'error', signal })
    const body = await readBounded(response)
    if (response.status >= 500 || response.status === 429) throw new ProviderUnreachable(`${url} answered ${response.status}`)
    const { status, statusText, headers } = response
    return new Response(NO_BODY.has(status) ? null : body, { status, statusText, headers })
  } catch (cause) {
    throw cause instanceof ProviderUnreachable ? cause : new ProviderUnreachable(`${url} gave no answer: ${reasonOf(cause)}`, { cause })
  }
}

const NO_BODY: ReadonlySet<number> = new Set([204, 205, 304])

async function readBounded({ body, url }: Response): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body ?? []) {
    size += chunk.length
    // Leaving the loop cancels the stream, and with it the connection.
    if (size > MAX_BYTES) throw new ProviderUnreachable(`${url} answered with more than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message} (${error.cause.message})` : error.message
}
