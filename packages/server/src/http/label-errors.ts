import type { ServerResponse } from 'node:http'
import { JSON_TYPE } from './refuse.ts'

const STREAM_CACHING = 'no-cache, no-transform'

/**
 * Gives an answer of tRPC's handler its type where tRPC gives none, or calls JSON text, for what it refuses before a call runs; and keeps
 * event streams out of caches as all else, where tRPC would let them be stored.
 */
export function labelErrors(res: ServerResponse): void {
  const writeHead = res.writeHead.bind(res) as (...head: unknown[]) => ServerResponse
  res.writeHead = (...head: unknown[]) => {
    const type = res.getHeader('content-type')
    if (type === undefined ? res.statusCode >= 400 : String(type).startsWith('text/plain')) res.setHeader('Content-Type', JSON_TYPE)
    if (res.getHeader('cache-control') === STREAM_CACHING) res.setHeader('Cache-Control', 'no-store, no-transform')
    return writeHead(...head)
  }
}
