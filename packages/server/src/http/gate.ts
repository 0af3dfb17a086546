import type { IncomingMessage, ServerResponse } from 'node:http'
import { TRPCError } from '@trpc/server'
import { AuthError } from '../errors.ts'
import { isAllowedOrigin } from '../origin.ts'
import { finish, isTooLong, MAX_BODY } from './body.ts'
import { isExactPath } from './exact-path.ts'
import type { Refuse } from './refuse.ts'

const MAX_URL = 8192
/** What an answer depends on, beside what tRPC adds. */
export const VARY = 'Origin, Sec-Fetch-Site'
export const METHODS = 'GET, HEAD, POST, OPTIONS'

/** What stands in front of tRPC: everything that it would let through and we do not. */
export interface GateOptions {
  readonly basePath: string
  readonly allowedOrigins: ReadonlySet<string>
  readonly refuse: Refuse
}

/** Answers a request that must not reach tRPC, and says whether it did. */
export function refuseAtGate(req: IncomingMessage, res: ServerResponse, options: GateOptions): boolean {
  const { basePath, allowedOrigins, refuse } = options
  const url = req.url ?? ''
  if (url.length > MAX_URL) return refuse(res, badRequest(`The URL is too long (at most ${MAX_URL} characters)`), 414)
  // Exactly as sent: what another layer would fold into the prefix is not the prefix.
  if (!url.startsWith(basePath) || !isExactPath(url, basePath.length)) return refuse(res, new AuthError('not_found'))
  const { origin, host, 'sec-fetch-site': fetchSite } = req.headers
  res.setHeader('Vary', VARY)
  if (!isAllowedOrigin({ origin, host, fetchSite: Array.isArray(fetchSite) ? fetchSite[0] : fetchSite }, allowedOrigins)) {
    return refuse(res, new AuthError('origin_refused'))
  }
  if (origin !== undefined && allowedOrigins.has(origin)) allowCrossOrigin(res, origin)
  if (req.method === 'OPTIONS') return answerPreflight(req, res)
  if (req.method !== 'GET' && req.method !== 'POST' && req.method !== 'HEAD') {
    res.setHeader('Allow', METHODS)
    return refuse(res, new TRPCError({ code: 'METHOD_NOT_SUPPORTED', message: `Use ${METHODS}` }))
  }
  return refuseBody(req, res, refuse)
}

function refuseBody(req: IncomingMessage, res: ServerResponse, refuse: Refuse): boolean {
  const { method, headers } = req
  if (method === 'POST' && !isJson(headers['content-type'])) return refuse(res, unsupported('Send content-type: application/json'))
  const encoding = headers['content-encoding']
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') {
    res.setHeader('Accept-Encoding', 'identity')
    return refuse(res, unsupported('Send the body without content-encoding'))
  }
  return isTooLong(req) && refuse(res, tooLarge())
}

/** For a body that is longer than it may be, whenever that is seen. */
export function tooLarge(): TRPCError {
  return new TRPCError({ code: 'PAYLOAD_TOO_LARGE', message: `The body is too large (at most ${MAX_BODY} bytes)` })
}

export function badRequest(message: string): TRPCError {
  return new TRPCError({ code: 'BAD_REQUEST', message })
}

function unsupported(message: string): TRPCError {
  return new TRPCError({ code: 'UNSUPPORTED_MEDIA_TYPE', message })
}

function isJson(contentType: string | undefined): boolean {
  return contentType?.split(';', 1)[0]?.trim().toLowerCase() === 'application/json'
}

function allowCrossOrigin(res: ServerResponse, origin: string): void {
  res.setHeader('Access-Control-Allow-Origin', origin)
  res.setHeader('Access-Control-Allow-Credentials', 'true')
  res.setHeader('Access-Control-Expose-Headers', 'Retry-After, X-Request-Id')
  res.setHeader('Cross-Origin-Resource-Policy', 'cross-origin')
}

function answerPreflight(req: IncomingMessage, res: ServerResponse): true {
  res.setHeader('Allow', METHODS)
  if (req.headers['access-control-request-method'] !== undefined && res.hasHeader('Access-Control-Allow-Origin')) {
    res.setHeader('Access-Control-Allow-Methods', 'GET, POST')
    res.setHeader('Access-Control-Allow-Headers', 'content-type, trpc-accept, last-event-id')
    res.setHeader('Access-Control-Max-Age', '600')
  }
  res.statusCode = 204
  finish(res)
  return true
}
