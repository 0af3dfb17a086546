import { TRPCClientError, type TRPCLink } from '@trpc/client'
import type { AnyRouter, TRPCDataTransformer } from '@trpc/server'
import { observable } from '@trpc/server/observable'
import type { Source } from './platform.ts'

// The JSON-RPC code that tRPC gives to every 5xx: the server may be back at the next attempt.
const SERVER_ERROR = -32603
const CONNECTING = { type: 'state', state: 'connecting' } as const

interface Message extends Event {
  readonly data: string
  readonly lastEventId: string
}

/**
 * Subscriptions over Server-Sent Events, as tRPC's servers speak them: the state, tracked ids, inactivity limit and retries of
 * tRPC's own link, without the third of the browser bundle that its stream reader would add.
 */
export function subscriptionLink(deps: {
  url: string
  transformer: TRPCDataTransformer | null
  open: (url: string, path: string) => Source
}): TRPCLink<AnyRouter> {
  const { url, transformer, open } = deps
  const decode = (text: string): unknown => (transformer === null ? JSON.parse(text) : transformer.deserialize(JSON.parse(text)))

  function urlOf(path: string, input: unknown, lastEventId: string | null): string {
    const query = new URLSearchParams()
    if (input !== undefined) query.set('input', JSON.stringify(transformer === null ? input : transformer.serialize(input)))
    if (lastEventId !== null) query.set('lastEventId', lastEventId)
    return `${url}/${path}?${query.toString()}`
  }

  return () =>
    ({ op }) =>
      observable((observer) => {
        let source: Source
        let lastEventId: string | null = null
        let inactivityMs = 0
        let timer: ReturnType<typeof setTimeout> | undefined

        function connect(): void {
          source = open(urlOf(op.path, op.input, lastEventId), op.path)
          listen('connected', ({ data }) => {
            const { reconnectAfterInactivityMs = 0 } = JSON.parse(data) as { reconnectAfterInactivityMs?: number }
            // Not as often as a server may ask for: it would be called again and again without a pause.
            inactivityMs = reconnectAfterInactivityMs > 0 ? Math.max(reconnectAfterInactivityMs, 1000) : 0
            watchInactivity()
            observer.next({ result: { type: 'started' } })
            observer.next({ result: { type: 'state', state: 'pending', error: null } })
          })
          listen('ping', () => {})
          listen('message', (message) => {
            const data = decode(message.data)
            if (message.lastEventId === '') return observer.next({ result: { data } })
            lastEventId = message.lastEventId
            observer.next({ result: { id: lastEventId, data: { id: lastEventId, data } } })
          })
          listen('serialized-error', ({ data }) => {
            const error = TRPCClientError.from<AnyRouter>({ error: decode(data) as never })
            if (error.shape?.code === SERVER_ERROR) observer.next({ result: { ...CONNECTING, error } })
            else fail(error)
          })
          listen('return', () => {
            stop()
            observer.next({ result: { type: 'stopped' } })
            observer.next({ result: { type: 'state', state: 'idle', error: null } })
            observer.complete()
          })
          source.addEventListener('error', (event) => {
            const error = TRPCClientError.from<AnyRouter>(event)
            if (source.readyState === source.CLOSED) fail(error)
            else observer.next({ result: { ...CONNECTING, error } })
          })
        }

        function listen(name: string, handle: (message: Message) => void): void {
          source.addEventListener(name, (message) => {
            watchInactivity()
            try {
              handle(message as Message)
            } catch (cause) {
              fail(TRPCClientError.from(cause as Error))
            }
          })
        }

        function watchInactivity(): void {
          clearTimeout(timer)
          if (inactivityMs === 0) return
          timer = setTimeout(() => {
            source.close()
            observer.next({ result: { ...CONNECTING, error: new TRPCClientError(`nothing heard for ${inactivityMs} ms`) } })
            connect()
          }, inactivityMs)
        }

        function stop(): void {
          clearTimeout(timer)
          source.close()
          op.signal?.removeEventListener('abort', abort)
        }

        function fail(error: TRPCClientError<AnyRouter>): void {
          stop()
          observer.error(error)
        }

        function abort(): void {
          stop()
          observer.complete()
        }

        observer.next({ result: { ...CONNECTING, error: null } })
        connect()
        if (op.signal?.aborted === true) abort()
        else op.signal?.addEventListener('abort', abort)
        return stop
      })
}
