import type { IncomingMessage, ServerResponse } from 'node:http'
import { badRequest } from './gate.ts'
import type { Refuse } from './refuse.ts'

/** Refuses what Node's parser lets through although RFC 9112 and 9110 do not, and says whether it did. */
export function refuseMalformed(req: IncomingMessage, res: ServerResponse, refuse: Refuse): boolean {
  const [status, message] = flawOf(req) ?? []
  if (message === undefined) return false
  res.setHeader('Connection', 'close')
  return refuse(res, badRequest(message), status)
}

function flawOf({ httpVersionMajor, httpVersionMinor, rawHeaders, headers }: IncomingMessage): [number, string] | null {
  if (httpVersionMajor !== 1) return [400, 'Send HTTP/1.1']
  const hosts = countHosts(rawHeaders)
  if (hosts > 1) return [400, 'Send one Host header']
  if (httpVersionMinor === 0) return null
  if (hosts === 0) return [400, 'Send a Host header']
  return headers.expect === undefined || isContinue(headers.expect) ? null : [417, 'The only expectation that is met is 100-continue']
}

// Node keeps the first of several and drops the rest, so that `headers` does not tell.
function countHosts(rawHeaders: readonly string[]): number {
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] as string
    if (name.length === 4 && name.toLowerCase() === 'host') count += 1
  }
  return count
}

function isContinue(expectation: string): boolean {
  return expectation.trim().toLowerCase() === '100-continue'
}

/** Whether the caller waits to be told that its body is wanted; to be asked of a request that is not malformed. */
export function awaitsContinue({ httpVersionMinor, headers }: IncomingMessage): boolean {
  return httpVersionMinor === 1 && headers.expect !== undefined
}
