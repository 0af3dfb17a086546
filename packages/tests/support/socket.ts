import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { AnyRouter } from '@trpc/server'
import { applyWSSHandler, type CreateWSSContextFnOptions } from '@trpc/server/adapters/ws'
import type { Auth } from '@trpc-login/server'
import { WebSocket, WebSocketServer } from 'ws'

/** What came back for one message. */
export interface SocketReply {
  readonly result?: { readonly type: string; readonly data?: unknown }
  readonly error?: { readonly message: string; readonly data: { readonly reason: string; readonly requestId: string | null } }
}

interface Message extends Pick<SocketReply, 'result'> {
  readonly id: number | null
  readonly error?: { readonly json: NonNullable<SocketReply['error']> }
}

/** A router behind tRPC's own WebSocket adapter, and callers of it. */
export async function serveSockets(auth: Auth, router: AnyRouter, keepAlive?: { enabled: boolean; pingMs: number; pongWaitMs: number }) {
  const server = createServer()
  const wss = new WebSocketServer({ server })
  const createContext = (opts: CreateWSSContextFnOptions) => auth.createContext(opts)
  const handler = applyWSSHandler({ wss, router, createContext, ...(keepAlive && { keepAlive }) })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo

  return {
    host: `127.0.0.1:${port}`,
    /** A socket as a browser or a program opens it, once it is open. */
    async open(headers: Record<string, string>) {
      const socket = new WebSocket(`ws://127.0.0.1:${port}`, { headers })
      const inbox = createInbox()
      const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
      const pings = { count: 0 }
      let last = 0
      socket.on('message', (text: Buffer) => {
        if (text.toString() === 'PING') {
          pings.count += 1
          return socket.send('PONG')
        }
        const { id, result, error } = JSON.parse(text.toString()) as Message
        inbox.put(id, { ...(result && { result }), ...(error && { error: error.json }) })
      })
      await new Promise((resolve) => socket.once('open', resolve))
      const take = (id: number | null) => Promise.race([inbox.take(id), closed.then((): SocketReply => ({ result: { type: 'closed' } }))])
      return {
        pings,
        /** Sends one call; its first reply, or that the socket was closed. */
        ask(method: string, path: string, input?: unknown): Promise<SocketReply> {
          last += 1
          socket.send(JSON.stringify({ id: last, method, params: { path, input: { json: input } } }))
          return take(last)
        },
        /** What the server says of the socket itself. */
        refusal: take(null),
        closed,
        /** The next reply to the last call, where it is a subscription. */
        next: () => take(last),
        close: () => socket.close(),
      }
    },
    async [Symbol.asyncDispose]() {
      handler.broadcastReconnectNotification()
      for (const client of wss.clients) client.terminate()
      wss.close()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Replies by the id that they answer, each taken once, in their order. */
function createInbox() {
  const come = new Map<number | null, SocketReply[]>()
  const waiting = new Map<number | null, (reply: SocketReply) => void>()
  return {
    put(id: number | null, reply: SocketReply): void {
      const taker = waiting.get(id)
      waiting.delete(id)
      if (taker === undefined) come.set(id, [...(come.get(id) ?? []), reply])
      else taker(reply)
    },
    take(id: number | null): Promise<SocketReply> {
      const reply = come.get(id)?.shift()
      return reply === undefined ? new Promise((resolve) => waiting.set(id, resolve)) : Promise.resolve(reply)
    },
  }
}
