import type { IncomingMessage, ServerResponse } from 'node:http'

/** What a request may carry, in bytes. */
export const MAX_BODY = 64 * 1024
const LINGER_MS = 1000
const LINGER_BYTES = 1024 * 1024

// Removes a byte order mark and mends what is no UTF-8, as the body of a Request does.
const utf8 = new TextDecoder()

export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
}

/** Whether more than the limit is announced. */
export function isTooLong({ headers }: IncomingMessage): boolean {
  return Number(headers['content-length'] ?? 0) > MAX_BODY
}

/**
 * Ends an answer to a request whose body nobody reads. A short one of stated length is left to Node, which passes over it. Behind any
 * other the connection ends, but not at once: closing it on what is still on its way would reset it, and the answer would be lost too.
 */
export function finish(res: ServerResponse, text = ''): void {
  const { req } = res
  if (req.complete || (req.headers['transfer-encoding'] === undefined && !isTooLong(req))) return void res.end(text)
  res.setHeader('Connection', 'close')
  if (res.statusCode !== 204) res.setHeader('Content-Length', Buffer.byteLength(text))
  if (text === '') res.flushHeaders()
  else res.write(text)
  let left = LINGER_BYTES
  const onData = (chunk: Buffer) => {
    left -= chunk.length
    if (left < 0) end()
  }
  const end = () => {
    clearTimeout(timer)
    req.off('data', onData).off('end', end).off('close', end)
    res.end()
  }
  const timer = setTimeout(end, LINGER_MS)
  req.on('data', onData).on('end', end).on('close', end).resume()
}

/** The body, or `null` as soon as it is longer than may be. Of a caller who leaves before its end it never comes: nobody is there to be answered. */
export function readBody(req: IncomingMessage): Promise<string | null> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let size = 0
    const onData = (chunk: Buffer) => {
      size += chunk.length
      if (size <= MAX_BODY) return void chunks.push(chunk)
      req.off('data', onData)
      req.pause()
      resolve(null)
    }
    req.on('data', onData)
    req.on('end', () => resolve(utf8.decode(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks))))
  })
}
