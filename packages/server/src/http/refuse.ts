import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AnyRouter, getTRPCErrorShape, type TRPCError, transformTRPCResponse } from '@trpc/server'
import { getHTTPStatusCodeFromError } from '@trpc/server/http'
import { TRPC_ERROR_CODES_BY_KEY, type TRPCErrorShape, type TRPCResponse } from '@trpc/server/rpc'
import { formatAuthError } from '../errors.ts'
import { finish } from './body.ts'
import { isExactPath } from './exact-path.ts'

export const JSON_TYPE = 'application/json; charset=utf-8'
export const MAX_BATCH = 10

/** Sends an error for a request that tRPC never sees, with the status of its code or another one, and says that it did. */
export type Refuse = (res: ServerResponse, error: TRPCError, status?: number) => true

/** An error as plain JSON in tRPC's shape, for callers of whom no application is known. */
export const refusePlainly: Refuse = (res, error, status = getHTTPStatusCodeFromError(error)) =>
  send(res, status, JSON.stringify({ error: plainShape(error, status) }))

/**
 * Errors in the form that the application gives its own, so that its clients can read them: through its formatter and its transformer,
 * and one for each call of a batch.
 */
export function createRefuse({ router, basePath }: { router: AnyRouter; basePath: string }): Refuse {
  const { _config: config } = router._def

  return (res, error, status = getHTTPStatusCodeFromError(error)) => {
    try {
      return send(res, status, JSON.stringify(transformTRPCResponse(config, compose(res.req, error, status))))
    } catch {
      // The application's own formatter or transformer failed.
      return refusePlainly(res, error, status)
    }
  }

  function compose(req: IncomingMessage, error: TRPCError, status: number): TRPCResponse | TRPCResponse[] {
    const { isBatch, paths } = readCalls(req.url ?? '', basePath)
    const responses = paths.map((path): TRPCResponse => ({ error: shapeOf(error, path, status) }))
    // A streamed batch that is refused before it began is answered once for all its calls, as by tRPC.
    return isBatch && !isStreamed(req) ? responses : (responses[0] as TRPCResponse)
  }

  function shapeOf(error: TRPCError, path: string | undefined, status: number): TRPCErrorShape {
    const shape = getTRPCErrorShape({ config, error, type: 'unknown', path, input: undefined, ctx: undefined }) as TRPCErrorShape
    const { data } = shape as { data?: { httpStatus?: unknown } }
    // tRPC knows no code for some of our statuses.
    return typeof data?.httpStatus === 'number' ? { ...shape, data: { ...data, httpStatus: status } } : shape
  }
}

function send(res: ServerResponse, status: number, text: string): true {
  res.statusCode = status
  res.setHeader('Content-Type', JSON_TYPE)
  finish(res, text)
  return true
}

function plainShape(error: TRPCError, httpStatus: number): object {
  const { code, message } = error
  return formatAuthError({ shape: { message, code: TRPC_ERROR_CODES_BY_KEY[code], data: { code, httpStatus } }, error })
}

/** The calls that a URL names. Where it names none exactly, or too many, one without a name stands for all that the caller has in mind. */
function readCalls(url: string, basePath: string): { isBatch: boolean; paths: (string | undefined)[] } {
  const [path = '', ...search] = url.split('?')
  if (!path.startsWith(basePath) || !isExactPath(path, basePath.length)) return ONE_FOR_ALL
  const isBatch = new URLSearchParams(search.join('?')).get('batch') === '1'
  const names = isBatch ? path.slice(basePath.length).split(',') : [path.slice(basePath.length)]
  return names.length > MAX_BATCH ? ONE_FOR_ALL : { isBatch, paths: names.map(decode) }
}

const ONE_FOR_ALL = { isBatch: false, paths: [undefined] }

function decode(name: string): string | undefined {
  try {
    return decodeURIComponent(name)
  } catch {
    return undefined
  }
}

function isStreamed({ headers }: IncomingMessage): boolean {
  return headers['trpc-accept'] === 'application/jsonl' || headers.accept?.includes('application/jsonl') === true
}
