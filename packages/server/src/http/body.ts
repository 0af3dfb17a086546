import type { IncomingMessage, ServerResponse } from 'node:http'

/** What a request may carry, in bytes. */
export const MAX_BODY = 64 * 1024

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
 * For an answer that is given without the body. Closing on one that is still on its way would reset the connection, and the answer with
 * it; only a long one is worth that.
 */
export function leaveBody(req: IncomingMessage, res: ServerResponse): void {
  if (isTooLong(req)) return void res.setHeader('Connection', 'close')
  if (req.headers['transfer-encoding'] === undefined || req.complete) return
  let size = 0
  req.on('data', (chunk: Buffer) => {
    size += chunk.length
    if (size > MAX_BODY) req.socket.destroy()
  })
  req.resume()
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
