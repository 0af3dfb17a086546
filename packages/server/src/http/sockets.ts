import type { IncomingMessage } from 'node:http'
import type { Server } from 'node:https'
import type { Server as NetServer, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { addressBucket } from '../address.ts'
import { METHODS } from './gate.ts'
import { rawResponse } from './headers.ts'
import type { UnderWay } from './under-way.ts'

// Supervisors kill after ten seconds.
const DRAIN_MS = 8000

/** Refuses what could not be read, after the answers to what was read before it on the same connection. */
export function answerUnparsable(underWay: UnderWay): (error: NodeJS.ErrnoException, socket: Duplex) => void {
  return (error, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    const [status, phrase] = PARSE_FAILURES[error.code ?? ''] ?? [400, 'Bad Request']
    answerLast(underWay, socket, rawResponse(status, phrase))
  }
}

/** Refuses a tunnel to somewhere else, for which Node would end the connection without a word. */
export function refuseConnect(underWay: UnderWay): (req: IncomingMessage, socket: Duplex) => void {
  return (_req, socket) => {
    socket.on('error', () => socket.destroy())
    answerLast(underWay, socket, rawResponse(405, 'Method Not Allowed', { Allow: METHODS }))
  }
}

function answerLast(underWay: UnderWay, socket: Duplex, response: string): void {
  // Whatever follows cannot be read.
  socket.pause()
  underWay.whenIdle(socket as Socket, () => socket.end(response, () => socket.destroy()))
}

const PARSE_FAILURES: Readonly<Record<string, readonly [number, string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'Content Too Large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout'],
}

/** Connections, as Node's own server does not give them out: it leaves half-open ones be, and they would hold up the stop. */
export interface Sockets {
  all(): Iterable<Socket>
  /** Those that have not sent a byte of a request. */
  unasked(): Iterable<Socket>
}

/** Tracks connections, and closes those beyond what one address may have. */
export function trackSockets(server: Server, maxPerAddress: number): Sockets {
  const sockets = new Map<string, Socket>()
  const secured = new Map<string, Socket>()
  const counts = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const bucket = addressBucket(socket.remoteAddress ?? null)
    const count = counts.get(bucket) ?? 0
    if (count >= maxPerAddress) return void socket.destroy()
    counts.set(bucket, count + 1)
    const peer = peerOf(socket)
    sockets.set(peer, socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => {
      sockets.delete(peer)
      secured.delete(peer)
      const left = (counts.get(bucket) ?? 1) - 1
      if (left === 0) counts.delete(bucket)
      else counts.set(bucket, left)
    })
  })
  server.on('secureConnection', (socket: Socket) => secured.set(peerOf(socket), socket))
  return {
    all: () => sockets.values(),
    *unasked() {
      for (const [peer, socket] of sockets) if ((secured.get(peer)?.bytesRead ?? 0) === 0) yield socket
    },
  }
}

/** The same for a connection and for the TLS that it carries. */
function peerOf({ remoteAddress = '', remotePort = 0 }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

const WHY_NOT: Readonly<Record<string, string>> = {
  EADDRINUSE: 'the port is taken by another process',
  EACCES: 'this user may not listen on that port',
  EADDRNOTAVAIL: 'this machine has no such address',
}

/** The server could not listen where it was told to. */
export class ListenError extends Error {
  override readonly name = 'ListenError'
}

/** @throws ListenError naming host, port and reason */
export function listen(server: NetServer, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const refuse = (cause: NodeJS.ErrnoException) => {
      const why = WHY_NOT[cause.code ?? '']
      reject(
        new ListenError(`cannot listen on ${host}:${port}: ${why === undefined ? cause.message : `${why} (${cause.code})`}`, { cause }),
      )
    }
    server.once('error', refuse)
    server.listen(port, host, () => {
      server.removeListener('error', refuse)
      resolve()
    })
  })
}

export function drain(server: Server, destroySockets: () => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(destroySockets, DRAIN_MS)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
    server.closeIdleConnections()
  })
}
