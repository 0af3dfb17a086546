import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { GoToProvider } from './platform.ts'

const MAX_MS = 10 * 60_000
const HEADERS = {
  'content-type': 'text/plain; charset=utf-8',
  'content-security-policy': "default-src 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  connection: 'close',
}

/**
 * The way for programs without a browser of their own (RFC 8252 section 7.3): a listener on 127.0.0.1 receives what the provider
 * sent, and only this program, which holds the cookie of the sign-in, can finish it.
 */
export const goToProvider: GoToProvider = async ({ begin, finish }, { open = printAddress, signal }) => {
  const server = createServer()
  await new Promise<void>((resolve, reject) => void server.once('error', reject).listen(0, '127.0.0.1', resolve))
  try {
    const { url } = await begin({ loopbackPort: (server.address() as AddressInfo).port })
    const answer = nextAnswer(server, new URL(url).searchParams.get('state'), signal)
    // Opening may take until the page is there, and the page waits for us.
    const opened = (async () => open(url))()
    const { parameters, reply } = await Promise.race([answer, opened.then(() => answer)])
    return await finish(parameters).then(
      (signedIn) => {
        reply(200, 'You are signed in. You can close this window.')
        return signedIn
      },
      (error: unknown) => {
        reply(400, 'The sign-in did not succeed. The program in which it began says why.')
        throw error
      },
    )
  } finally {
    server.close()
    server.closeIdleConnections()
  }
}

interface Answer {
  readonly parameters: Record<string, string>
  reply(status: number, text: string): void
}

/** The first request that carries the state; whatever else knocks is sent away. */
function nextAnswer(server: ReturnType<typeof createServer>, state: string | null, signal: AbortSignal | undefined): Promise<Answer> {
  const promise = new Promise<Answer>((resolve, reject) => {
    const giveUp = AbortSignal.any([AbortSignal.timeout(MAX_MS), ...(signal === undefined ? [] : [signal])])
    const onAbort = () => reject(giveUp.reason)
    if (giveUp.aborted) onAbort()
    giveUp.addEventListener('abort', onAbort, { once: true })
    server.on('request', (req: IncomingMessage, res: ServerResponse) => {
      const url = new URL(req.url ?? '/', 'http://127.0.0.1')
      const reply = (status: number, text: string) => void res.writeHead(status, HEADERS).end(text)
      if (req.method !== 'GET' || url.pathname !== '/' || state === null || url.searchParams.get('state') !== state)
        return reply(404, 'Not here.')
      giveUp.removeEventListener('abort', onAbort)
      resolve({ parameters: Object.fromEntries(url.searchParams), reply })
    })
  })
  // Whoever opens the address may fail before anybody waits for the answer.
  promise.catch(() => {})
  return promise
}

function printAddress(url: string): void {
  process.stderr.write(`open this address in a browser to sign in:\n${url}\n`)
}
