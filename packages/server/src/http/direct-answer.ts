import type { ServerResponse } from 'node:http'
import { type AnyRouter, getTRPCErrorFromUnknown, getTRPCErrorShape, TRPCError, transformTRPCResponse } from '@trpc/server'
import { getHTTPStatusCode, type TRPCRequestInfo } from '@trpc/server/http'
import type { TRPCResponse } from '@trpc/server/rpc'
import { JSON_TYPE } from './refuse.ts'

// On every answer of tRPC's own.
const TRPC_VARY = 'trpc-accept, accept'
// Where an error cannot be formatted; tRPC says the same.
const GENERAL_ERROR = { code: -32603, message: 'Internal server error', data: { code: 'INTERNAL_SERVER_ERROR', httpStatus: 500 } } as const
const EMPTY_STATUSES: ReadonlySet<number> = new Set([204, 205, 304])

/** What our server adds to an answer, whichever path it takes. */
export interface AnswerMeta {
  readonly vary: string
  readonly retryAfter?: string
  readonly status?: number
}

export interface AnswerOptions {
  readonly router: AnyRouter
  readonly metaOf: (errors: readonly TRPCError[], info: TRPCRequestInfo) => AnswerMeta
  /** Must not throw. */
  readonly onError: (failure: Failure) => void
}

export interface Failure {
  readonly error: TRPCError
  readonly path?: string | undefined
  readonly ctx?: unknown
}

/** What became of one call. */
export type Outcome = { readonly error: TRPCError } | { readonly error?: undefined; readonly data: unknown }

/** A request whose calls have all ended. */
export interface Answered {
  readonly res: ServerResponse
  readonly info: TRPCRequestInfo
  readonly ctx: unknown
}

interface Reply {
  readonly status: number
  readonly body: string
  readonly metas: readonly AnswerMeta[]
}

/** Puts the outcomes of a request into words step by step as tRPC does, so that what goes wrong on the way goes wrong alike. */
export function createAnswer({ router, metaOf, onError }: AnswerOptions): (answered: Answered, outcomes: readonly Outcome[]) => void {
  const { _config: config } = router._def

  return (answered, outcomes) => {
    try {
      send(answered.res, compose(answered, outcomes))
    } catch (cause) {
      sendGeneral(answered.res, getTRPCErrorFromUnknown(cause))
    }
  }

  function compose(answered: Answered, outcomes: readonly Outcome[]): Reply {
    const metas: AnswerMeta[] = []
    try {
      return composeResults(answered, outcomes, metas)
    } catch (cause) {
      return composeFailure(answered, getTRPCErrorFromUnknown(cause), metas)
    }
  }

  function composeResults({ info, ctx }: Answered, outcomes: readonly Outcome[], metas: AnswerMeta[]): Reply {
    const settled = outcomes.map(info.isBatchCall ? refuseStream : requireWhole)
    const results = settled.map((outcome, index): TRPCResponse => {
      if (outcome.error === undefined) return { result: { data: outcome.data } }
      const call = info.calls[index]
      return { error: shapeOf({ error: outcome.error, type: info.type, path: call?.path, input: call?.result(), ctx }) }
    })
    const meta = metaOf(settled.map(({ error }) => error).filter(isDefined), info)
    metas.push(meta)
    const status = meta.status ?? statusOf(results, settled)
    const body = toJson(info.isBatchCall ? results : (results[0] as TRPCResponse))
    return { status: requireBodyStatus(status, body), body, metas }
  }

  /** An answer that could not be given as it was; the first meta's headers stay, and this one's are added to them. */
  function composeFailure({ info, ctx }: Answered, error: TRPCError, metas: AnswerMeta[]): Reply {
    onError({ error, ctx })
    const result: TRPCResponse = { error: shapeOf({ error, type: info.type, path: undefined, input: undefined, ctx }) }
    const body = toJson(result)
    const meta = metaOf([error], info)
    metas.push(meta)
    return { status: requireBodyStatus(meta.status ?? statusOf([result], [{ error }]), body), body, metas }
  }

  /** Where even that failed. */
  function sendGeneral(res: ServerResponse, error: TRPCError): void {
    const shape = shapeOrGeneral(error)
    onError({ error })
    if (res.headersSent) return void res.end()
    const body = toJson({ error: shape })
    res.statusCode = (shape.data as { httpStatus: number }).httpStatus
    if (!res.hasHeader('content-type')) res.setHeader('Content-Type', JSON_TYPE)
    res.end(body)
  }

  function shapeOrGeneral(error: TRPCError): Shape {
    try {
      return shapeOf({ error, type: 'unknown', path: undefined, input: undefined, ctx: undefined })
    } catch {
      return GENERAL_ERROR
    }
  }

  function shapeOf(failure: Omit<Parameters<typeof getTRPCErrorShape>[0], 'config'>): Shape {
    return getTRPCErrorShape({ config, ...failure }) as Shape
  }

  function toJson(response: TRPCResponse | TRPCResponse[]): string {
    return JSON.stringify(transformTRPCResponse(config, response))
  }
}

type Shape = Extract<TRPCResponse, { error: unknown }>['error']

function statusOf(results: TRPCResponse[], outcomes: readonly Outcome[]): number {
  if (outcomes.every(({ error }) => error === undefined)) return 200
  return getHTTPStatusCode(
    results,
    outcomes.map(({ error }) => error),
  )
}

function send(res: ServerResponse, { status, body, metas }: Reply): void {
  // What a procedure has said itself stays.
  if (res.statusCode === 200) res.statusCode = status
  const [first, second] = metas
  res.setHeader('content-type', 'application/json')
  const waits = metas.flatMap(({ retryAfter }) => retryAfter ?? [])
  if (waits.length > 0) res.setHeader('retry-after', waits.join(', '))
  res.setHeader('vary', second === undefined ? `${TRPC_VARY}, ${first?.vary}` : `${TRPC_VARY}, ${first?.vary}, ${second.vary}`)
  try {
    // In chunks although its length is known: nobody shall tell this path from tRPC's own.
    res.write(body)
  } catch (error) {
    if (!res.headersSent) res.statusCode = 500
    throw error
  } finally {
    res.end()
  }
}

function requireWhole(outcome: Outcome): Outcome {
  const refused = refuseStream(outcome)
  if (refused !== outcome && refused.error !== undefined) throw refused.error
  return outcome
}

function refuseStream(outcome: Outcome): Outcome {
  if (outcome.error !== undefined || !isStreamLike(outcome.data)) return outcome
  const message = 'Cannot use stream-like response in non-streaming request - use httpBatchStreamLink'
  return { error: new TRPCError({ code: 'UNSUPPORTED_MEDIA_TYPE', message }) }
}

/** Whether a result, or one of its fields, is yet to come: what tRPC answers only in streams. */
function isStreamLike(data: unknown): boolean {
  if (!isObject(data)) return false
  return isAsyncIterable(data) || Object.values(data).some((value) => isPromise(value) || isAsyncIterable(value))
}

function isObject(value: unknown): value is Record<PropertyKey, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isAsyncIterable(value: unknown): boolean {
  return isObject(value) && Symbol.asyncIterator in value
}

function isPromise(value: unknown): boolean {
  if (!isObject(value) && typeof value !== 'function') return false
  const { then, catch: recover } = value as { then?: unknown; catch?: unknown }
  return typeof then === 'function' && typeof recover === 'function'
}

/** Throws as a Response does for a status that has no body, or is none at all. */
function requireBodyStatus(status: number, body: string): number {
  const isOfBody = status >= 200 && status <= 599 && !EMPTY_STATUSES.has(status)
  return isOfBody ? status : new Response(body, { status }).status
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined
}
