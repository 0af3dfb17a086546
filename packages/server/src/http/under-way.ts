import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

// No browser pipelines, and no common client does: ten leave room for those that do a little.
const MAX_PER_CONNECTION = 10
const MAX_REQUESTS = 1000
const STALLED_MS = 30_000
// What a big answer is given on top, as Node does not tell how far one has come: 16 kB a second.
const BYTES_PER_MS = 16
// Proxies cut streams that are silent for a minute, some sooner.
const SILENT_MS = 10_000
// A line that readers of event streams skip, wherever between two lines it stands.
const COMMENT = ': ping\n'

/** The answers that are under way on each connection. */
export interface UnderWay {
  /** Whether an answer may be begun; one too many ends its connection, and what was read behind it is not looked at. */
  begin(res: ServerResponse): boolean
  /** Runs once nothing that can still be answered is under way there; at once where that is so already. */
  whenIdle(socket: Socket, act: () => void): void
  all(): Iterable<ServerResponse>
  /**
   * Called now and then: ends connections whose peers have taken nothing of what waits for them for half a minute, a big answer for as much
   * longer as it is big, and writes a comment to event streams that have been silent for ten seconds.
   */
  sweep(at: number): void
}

interface Connection {
  readonly answers: Set<ServerResponse>
  latest: ServerResponse | null
  requests: number
  idle: (() => void) | null
  endingAt: number | null
  written: number
  flushed: number
  writtenAt: number
  flushedAt: number
}

/** A stream has no end of its own to wait for, and its reader comes back by itself. */
export function isEventStream(res: ServerResponse): boolean {
  return String(res.getHeader('content-type') ?? '').startsWith('text/event-stream')
}

/** Bounds what one connection may have under way; `onEnd` is called after each answer. */
export function trackUnderWay(onEnd: () => void): UnderWay {
  const connections = new Map<Socket, Connection>()

  function of(socket: Socket): Connection {
    const known = connections.get(socket)
    if (known !== undefined) return known
    const counts = { requests: 0, written: 0, flushed: 0, writtenAt: 0, flushedAt: 0 }
    const connection: Connection = { answers: new Set(), latest: null, idle: null, endingAt: null, ...counts }
    connections.set(socket, connection)
    socket.once('close', () => {
      connections.delete(socket)
      // After a CONNECT Node tells those that wait for their turn no longer that their caller has left.
      for (const res of connection.answers) if (res.socket === null && !res.writableFinished) res.emit('close')
      onEnd()
    })
    return connection
  }

  function end(connection: Connection, res: ServerResponse): void {
    connection.answers.delete(res)
    if (connection.idle !== null && !isWaitedFor(connection)) connection.idle()
    onEnd()
  }

  return {
    begin(res) {
      const { socket } = res.req
      if (socket.destroyed) return false
      const connection = of(socket)
      // Behind a request that ends its connection nobody hears of anything.
      if (connection.idle !== null || connection.latest?.getHeader('connection') === 'close') {
        stopParsing(socket)
        return false
      }
      if (connection.answers.size >= MAX_PER_CONNECTION) {
        stopParsing(socket)
        socket.destroy()
        return false
      }
      connection.answers.add(res)
      connection.latest = res
      connection.requests += 1
      if (connection.requests >= MAX_REQUESTS) res.setHeader('Connection', 'close')
      res.once('close', () => end(connection, res))
      return true
    },
    whenIdle(socket, act) {
      const connection = connections.get(socket)
      if (connection === undefined || !isWaitedFor(connection)) return act()
      // A stream would go on for as long as its session.
      if ([...connection.answers].some(isEventStream)) return void socket.destroy()
      connection.idle ??= act
    },
    *all() {
      for (const { answers } of connections.values()) yield* answers
    },
    sweep(at) {
      for (const [socket, connection] of connections) {
        note(socket, connection, at)
        if (connection.idle !== null) {
          // Nothing more is read of it, so nobody hears of a caller that has left.
          connection.endingAt ??= at
          if (at - connection.endingAt >= STALLED_MS) socket.destroy()
        }
        if (socket.writableLength > 0) {
          if (at - connection.flushedAt >= STALLED_MS + socket.writableLength / BYTES_PER_MS) socket.destroy()
        } else if (at - connection.writtenAt >= SILENT_MS) {
          for (const res of connection.answers) if (isOpenStream(res)) res.write(COMMENT)
        }
      }
    },
  }
}

/**
 * Has Node leave what it has read of a connection and not parsed yet: it would make a request and an answer of each that stands there,
 * hundreds in one piece, although nobody is to handle them. No public function does, so its parser is told that another protocol follows;
 * where it no longer listens to that, they cost what they cost.
 */
function stopParsing(socket: Socket): void {
  const { parser } = socket as { parser?: { onIncoming?: () => number } }
  if (parser?.onIncoming !== undefined) parser.onIncoming = () => 2
}

/** What has not come whole will never be answered where the rest of it could not be read. */
function isWaitedFor({ answers }: Connection): boolean {
  for (const { req } of answers) if (req.complete) return true
  return false
}

function note(socket: Socket, connection: Connection, at: number): void {
  const { bytesWritten: written } = socket
  const flushed = written - socket.writableLength
  if (written !== connection.written) {
    connection.written = written
    connection.writtenAt = at
  }
  if (flushed !== connection.flushed || socket.writableLength === 0) {
    connection.flushed = flushed
    connection.flushedAt = at
  }
}

/** Whether it is a stream whose turn has come: one that waits behind another would only pile comments up. */
function isOpenStream(res: ServerResponse): boolean {
  return res.socket !== null && res.headersSent && !res.writableEnded && isEventStream(res)
}
