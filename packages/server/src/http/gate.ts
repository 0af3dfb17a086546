import type { IncomingMessage, ServerResponse } from 'node:http'
import { AuthError, type AuthErrorData, REASONS, type Reason } from '../errors.ts'
import { isAllowedOrigin } from '../origin.ts'
import { requestId } from '../request-scope.ts'
import { leaveBody } from './body.ts'

const MAX_URL = 8192
/** What an answer depends on, beside what tRPC adds. */
export const VARY = 'Origin, Sec-Fetch-Site'
const METHODS = 'GET, HEAD, POST, OPTIONS'

/** What stands in front of tRPC: everything that it would let through and we do not. */
export interface GateOptions {
  readonly basePath: string
  readonly allowedOrigins: ReadonlySet<string>
}

/** Answers a request that must not reach tRPC, and says whether it did. */
export function refuseAtGate(req: IncomingMessage, res: ServerResponse, options: GateOptions): boolean {
  const url = req.url ?? ''
  if (url.length > MAX_URL) return refuse(res, 414, 'invalid_input', `The URL is too long (at most ${MAX_URL} characters)`)
  // Exactly as sent: what another layer would fold into the prefix is not the prefix.
  if (!url.startsWith(options.basePath)) return refuse(res, 404, 'not_found')
  const { origin, host, 'sec-fetch-site': fetchSite } = req.headers
  res.setHeader('Vary', VARY)
  if (!isAllowedOrigin({ origin, host, fetchSite: Array.isArray(fetchSite) ? fetchSite[0] : fetchSite }, options.allowedOrigins)) {
    return refuse(res, 403, 'origin_refused')
  }
  if (origin !== undefined && options.allowedOrigins.has(origin)) allowCrossOrigin(res, origin)
  if (req.method === 'OPTIONS') return answerPreflight(req, res)
  if (req.method !== 'GET' && req.method !== 'POST' && req.method !== 'HEAD') {
    res.setHeader('Allow', METHODS)
    return refuse(res, 405, null, `Use ${METHODS}`)
  }
  if (req.method === 'POST' && !isJson(req.headers['content-type'])) {
    return refuse(res, 415, 'invalid_input', 'Send content-type: application/json')
  }
  const encoding = req.headers['content-encoding']
  if (encoding !== undefined && encoding.trim().toLowerCase() !== 'identity') {
    return refuse(res, 415, 'invalid_input', 'Send the body without content-encoding')
  }
  return false
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

function answerPreflight(req: IncomingMessage, res: ServerResponse): boolean {
  res.setHeader('Allow', METHODS)
  if (req.headers['access-control-request-method'] !== undefined && res.hasHeader('Access-Control-Allow-Origin')) {
    res.setHeader('Access-Control-Allow-Methods', 'GET, POST')
    res.setHeader('Access-Control-Allow-Headers', 'content-type, trpc-accept, last-event-id')
    res.setHeader('Access-Control-Max-Age', '600')
  }
  leaveBody(req, res)
  res.statusCode = 204
  res.end()
  return true
}

/** An error in tRPC's shape, for requests that tRPC never sees. */
export function refuse(res: ServerResponse, httpStatus: number, reason: Reason | null, text?: string): true {
  const code = CODES[httpStatus] ?? 'BAD_REQUEST'
  const data: AuthErrorData = { code, httpStatus, reason, requestId: requestId() }
  const message = text ?? (reason === null ? code : REASONS[reason].message)
  res.statusCode = httpStatus
  res.setHeader('Content-Type', 'application/json; charset=utf-8')
  leaveBody(res.req, res)
  res.end(JSON.stringify({ error: { message, code: RPC_CODES[code] ?? -32600, data } }))
  return true
}

const CODES: Readonly<Record<number, AuthError['code']>> = {
  401: 'UNAUTHORIZED',
  403: 'FORBIDDEN',
  404: 'NOT_FOUND',
  405: 'METHOD_NOT_SUPPORTED',
  409: 'CONFLICT',
  413: 'PAYLOAD_TOO_LARGE',
  415: 'UNSUPPORTED_MEDIA_TYPE',
  429: 'TOO_MANY_REQUESTS',
  500: 'INTERNAL_SERVER_ERROR',
  503: 'SERVICE_UNAVAILABLE',
}

// JSON-RPC numbers as tRPC assigns them.
const RPC_CODES: Readonly<Partial<Record<AuthError['code'], number>>> = {
  UNAUTHORIZED: -32001,
  FORBIDDEN: -32003,
  NOT_FOUND: -32004,
  METHOD_NOT_SUPPORTED: -32005,
  CONFLICT: -32009,
  PAYLOAD_TOO_LARGE: -32013,
  UNSUPPORTED_MEDIA_TYPE: -32015,
  TOO_MANY_REQUESTS: -32029,
  INTERNAL_SERVER_ERROR: -32603,
  SERVICE_UNAVAILABLE: -32603,
}
