import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

// No browser pipelines, and no common client does: ten leave room for those that do a little.
const MAX_PER_CONNECTION = 10
const STALLED_MS = 30_000

/** The answers that are under way on each connection. */
export interface UnderWay {
  /** Whether an answer may be begun; one too many ends its connection, and what was read behind it is not looked at. */
  begin(res: ServerResponse): boolean
  /** Runs once nothing that can still be answered is under way there; at once where that is so already. */
  whenIdle(socket: Socket, act: () => void): void
  all(): Iterable<ServerResponse>
  /** Ends connections whose peers have read nothing of what waits for them since half a minute ago; called now and then. */
  endStalled(at: number): void
}

interface Connection {
  readonly answers: Set<ServerResponse>
  idle: (() => void) | null
  flushed: number
  flushedAt: number
}

/** Bounds what one connection may have under way; `onEnd` is called after each answer. */
export function trackUnderWay(onEnd: () => void): UnderWay {
  const connections = new Map<Socket, Connection>()

  function of(socket: Socket): Connection {
    const known = connections.get(socket)
    if (known !== undefined) return known
    const connection = { answers: new Set<ServerResponse>(), idle: null, flushed: 0, flushedAt: 0 }
    connections.set(socket, connection)
    // Answers that wait behind another one are not told that their connection is gone.
    socket.once('close', () => {
      connections.delete(socket)
      onEnd()
    })
    return connection
  }

  return {
    begin(res) {
      const { socket } = res.req
      if (socket.destroyed) return false
      const connection = of(socket)
      if (connection.answers.size >= MAX_PER_CONNECTION) {
        socket.destroy()
        return false
      }
      connection.answers.add(res)
      res.once('close', () => {
        connection.answers.delete(res)
        if (connection.answers.size === 0) connection.idle?.()
        onEnd()
      })
      return true
    },
    whenIdle(socket, act) {
      const connection = connections.get(socket)
      // What has not come whole will never be answered: the rest of it is what could not be read.
      const isWaitedFor = [...(connection?.answers ?? [])].some(({ req }) => req.complete)
      if (connection === undefined || !isWaitedFor) return act()
      connection.idle ??= act
    },
    *all() {
      for (const { answers } of connections.values()) yield* answers
    },
    endStalled(at) {
      for (const [socket, connection] of connections) {
        const flushed = socket.bytesWritten - socket.writableLength
        if (socket.writableLength === 0 || flushed !== connection.flushed) {
          connection.flushed = flushed
          connection.flushedAt = at
        } else if (at - connection.flushedAt >= STALLED_MS) socket.destroy()
      }
    },
  }
}
