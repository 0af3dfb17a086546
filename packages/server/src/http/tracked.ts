import { type AnyProcedure, isTrackedEnvelope, tracked } from '@trpc/server'
import type { TRPCRequestInfo } from '@trpc/server/http'
import { isObservable, observable } from '@trpc/server/observable'

/**
 * Keeps the ids that streams give their items by tRPC's `tracked`, whichever copy of tRPC gave them: an application that is bundled, or
 * says `require`, marks them with a symbol that the copy which serves them does not know.
 */
export function keepIds({ type, calls }: TRPCRequestInfo): void {
  if (type !== 'subscription') return
  for (const call of calls) if (call.procedure !== null) call.procedure = withOwnIds(call.procedure)
}

function withOwnIds(procedure: AnyProcedure): AnyProcedure {
  const run = async (options: { signal: AbortSignal }) => {
    const over = new AbortController()
    const signal = AbortSignal.any([options.signal, over.signal])
    return mapItems(await (procedure as unknown as (options: object) => Promise<unknown>)({ ...options, signal }), () => over.abort())
  }
  return Object.assign(run, { _def: procedure._def }) as unknown as AnyProcedure
}

function mapItems(source: unknown, end: () => void): unknown {
  if (isObservable(source))
    return observable((observer) => source.subscribe({ ...observer, next: (item) => observer.next(withOwnId(item)) }))
  if (typeof source !== 'object' || source === null || !(Symbol.asyncIterator in source)) return source
  return { [Symbol.asyncIterator]: () => mapIterator((source as AsyncIterable<unknown>)[Symbol.asyncIterator](), end) }
}

/** Not a generator, which would hold back the caller's `return` until the next item. */
function mapIterator(source: AsyncIterator<unknown>, end: () => void): AsyncIterator<unknown> {
  return {
    async next() {
      try {
        const result = await source.next()
        if (result.done !== true) return { done: false, value: withOwnId(result.value) }
        end()
        return result
      } catch (error) {
        end()
        throw error
      }
    },
    async return(value) {
      end()
      return (await source.return?.(value)) ?? { done: true, value }
    },
  }
}

function withOwnId(item: unknown): unknown {
  const isForeign = Array.isArray(item) && item.length === 3 && typeof item[2] === 'symbol' && !isTrackedEnvelope(item as never)
  return isForeign ? tracked(item[0] as string, item[1]) : item
}
