import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AnyRouter, TRPCError } from '@trpc/server'
import { type CreateHTTPContextOptions, createHTTPHandler } from '@trpc/server/adapters/standalone'
import type { TRPCRequestInfo } from '@trpc/server/http'
import type { Auth } from '../auth.ts'
import { type AuthContext, aloneViolation } from '../context.ts'
import { AuthError } from '../errors.ts'
import { parseOrigin } from '../origin.ts'
import { isPlain, newRequestId, withRequestScope } from '../request-scope.ts'
import { finish, hasBody, MAX_BODY, readBody } from './body.ts'
import type { createDirectPath } from './direct.ts'
import type { AnswerMeta, Failure } from './direct-answer.ts'
import { refuseAtGate, tooLarge, VARY } from './gate.ts'
import { SECURITY_HEADERS } from './headers.ts'
import { labelErrors } from './label-errors.ts'
import { awaitsContinue, refuseMalformed } from './malformed.ts'
import { mergeContext } from './merge-context.ts'
import { createOAuthRoutes } from './oauth-routes.ts'
import { createRefuse, JSON_TYPE, MAX_BATCH } from './refuse.ts'
import type { ServerOptions } from './server-options.ts'
import { keepIds } from './tracked.ts'
import type { UnderWay } from './under-way.ts'

const READY_MS = 1000

/** What happens to a request: health, callbacks of providers, the gate, and then the direct path or tRPC's own. */
export function createListener<TRouter extends AnyRouter>(
  options: ServerOptions<TRouter>,
  state: { draining: boolean },
  underWay: UnderWay,
  direct: typeof createDirectPath,
) {
  const { auth, router, baseUrl } = options
  const basePath = toBasePath(options.basePath ?? '/api/')
  const allowedOrigins = new Set([...(options.origins ?? []), ...(baseUrl === undefined ? [] : [baseUrl])].map(parseOrigin))
  const shared = {
    router,
    basePath,
    maxBodySize: MAX_BODY,
    maxBatchSize: MAX_BATCH,
    async createContext(request: CreateHTTPContextOptions) {
      keepIds(request.info)
      return mergeContext(await options.createContext?.(request), auth.createContext(request))
    },
    onError: ({ error, path, ctx }: Failure) => logUnexpected(auth, error, path, ctx),
  }
  const answer = direct({ ...shared, metaOf })
  const handle = createHTTPHandler({ ...shared, responseMeta: ({ errors, info }) => toResponseMeta(metaOf(errors, info)) })

  const refuse = createRefuse({ router, basePath })
  const oauthRoutes = createOAuthRoutes(auth)
  const isReady = createReadiness(auth)

  return (req: IncomingMessage, res: ServerResponse): void => {
    if (!underWay.begin(res)) return
    const id = newRequestId()
    for (const name in SECURITY_HEADERS) res.setHeader(name, SECURITY_HEADERS[name] as string)
    res.setHeader('X-Request-Id', id)
    if (state.draining) res.setHeader('Connection', 'close')
    withRequestScope({ id, plain: isPlain(req.headers.accept), req, vetted: true }, () => {
      if (refuseMalformed(req, res, refuse)) return
      if (req.url === '/healthz') return answerHealth(res, true)
      if (req.url === '/readyz') return void answerReady(isReady, res, state.draining)
      if (oauthRoutes(req, res)) return
      if (refuseAtGate(req, res, { basePath, allowedOrigins, refuse })) return
      if (!hasBody(req)) return dispatch(req, res, '')
      if (awaitsContinue(req)) res.writeContinue()
      // Whole, before anybody asks who sends it: what a session permits is decided when the act happens.
      readBody(req)
        .then((body) => void (body === null ? refuse(res, tooLarge()) : dispatch(req, res, body)))
        .catch(() => res.destroy())
    })
  }

  function dispatch(req: IncomingMessage, res: ServerResponse, body: string): void {
    if (answer(req, res, body)) return
    labelErrors(res)
    handle(req.method === 'POST' ? Object.assign(req, { body }) : req, res)
  }
}

function toBasePath(text: string): string {
  const inner = text.replace(/^\/+|\/+$/g, '')
  return inner === '' ? '/' : `/${inner}/`
}

function metaOf(errors: readonly TRPCError[], info: TRPCRequestInfo | undefined): AnswerMeta {
  const seconds = errors.flatMap((error) => (error instanceof AuthError && error.retryAfter !== undefined ? [error.retryAfter] : []))
  return {
    // tRPC writes its own Vary over the one that is already there.
    vary: VARY,
    ...(seconds.length > 0 ? { retryAfter: String(Math.max(...seconds)) } : {}),
    // A stream answers 200 whatever it carries, unless it is told otherwise before it begins.
    ...(info !== undefined && aloneViolation(info) !== null ? { status: 400 } : {}),
  }
}

function toResponseMeta({ vary, retryAfter, status }: AnswerMeta) {
  const headers = new Headers({ vary, ...(retryAfter === undefined ? {} : { 'retry-after': retryAfter }) })
  return { headers, ...(status === undefined ? {} : { status }) }
}

/** What the caller is not told goes to the log, under the same request id. */
function logUnexpected(auth: Auth, error: TRPCError, path: string | undefined, ctx: unknown): void {
  const unavailable = error instanceof AuthError && error.reason === 'unavailable'
  if (error.code !== 'INTERNAL_SERVER_ERROR' && !unavailable) return
  try {
    const cause: unknown = error.cause ?? error
    const detail = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)
    auth.log.error(
      { requestId: (ctx as AuthContext | undefined)?.auth.requestId ?? null, path: path ?? null, error: detail },
      'procedure_failed',
    )
  } catch {
    // A throwing onError would end the process; a log that cannot be written must not.
  }
}

function answerHealth(res: ServerResponse, ok: boolean): void {
  res.statusCode = ok ? 200 : 503
  res.setHeader('Content-Type', JSON_TYPE)
  finish(res, JSON.stringify({ ok }))
}

async function answerReady(isReady: () => Promise<boolean>, res: ServerResponse, draining: boolean): Promise<void> {
  answerHealth(res, !draining && (await isReady()))
}

/** Whoever asks within a second of the last check is told its result, and those who ask meanwhile share it: a check writes. */
function createReadiness({ storage }: Auth): () => Promise<boolean> {
  let last: Promise<boolean> | undefined
  let since = 0
  return () => {
    const now = performance.now()
    if (last !== undefined && now - since < READY_MS) return last
    since = now
    last = storage.check().then(
      () => true,
      () => false,
    )
    return last
  }
}
