const SHORT_BODY = 64 * 1024

/**
 * The part of an adapter's `createContext` argument that is used here: Node adapters and Fastify give `res`, fetch adapters
 * `resHeaders`, the WebSocket adapter its socket as `res`.
 */
export interface ContextRequest {
  readonly req: { readonly method?: string | undefined } & (WebRequest | NodeRequest)
  readonly res?: NodeResponse | FastifyResponse | Socket
  readonly resHeaders?: WebHeaders
  readonly info?: {
    readonly accept: string | null
    readonly type?: string
    readonly calls: readonly { readonly path: string; readonly procedure: { readonly _def: { readonly meta?: unknown } } | null }[]
  }
}

interface WebRequest {
  readonly headers: Pick<WebHeaders, 'get'>
}

interface NodeRequest {
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly socket?: { readonly remoteAddress?: string | undefined }
}

/** Not the global class: an application, or its test environment, may have brought another. */
export interface WebHeaders {
  get(name: string): string | null
  set(name: string, value: string): void
  append(name: string, value: string): void
  delete(name: string): void
  getSetCookie(): string[]
}

type HeaderValue = string | number | readonly string[]

export interface NodeResponse {
  readonly headersSent: boolean
  readonly writableEnded?: boolean
  readonly destroyed?: boolean
  getHeader(name: string): HeaderValue | undefined
  setHeader(name: string, value: string | readonly string[]): unknown
  removeHeader(name: string): void
}

/** Fastify collects headers apart from its response, and writes them over those that stand there. */
export interface FastifyResponse {
  readonly sent: boolean
  readonly raw: NodeResponse
  getHeader(name: string): HeaderValue | undefined
  header(name: string, value: string | readonly string[]): unknown
  removeHeader(name: string): unknown
}

interface Socket {
  readonly readyState: number
  close(): void
}

/** @throws TypeError for what is no request, as of an adapter that gives another argument than those known here */
export function requireRequest(request: ContextRequest | undefined): void {
  if (typeof request?.req?.headers === 'object') return
  throw new TypeError('createContext: req must be the request that the adapter gives, with its headers')
}

/** One header of the request; several of a name in one text. */
export function header({ req }: ContextRequest, name: string): string | undefined {
  if (isWebHeaders(req.headers)) return req.headers.get(name) ?? undefined
  const value = req.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}

function isWebHeaders(headers: ContextRequest['req']['headers']): headers is WebRequest['headers'] {
  return typeof headers.get === 'function'
}

/** The address at the other end of the connection, where an adapter tells. */
export function peerOf({ req }: ContextRequest): string | undefined {
  return 'socket' in req ? req.socket?.remoteAddress : undefined
}

/** Whether the context is that of a WebSocket, made once for all messages that come over it. */
export function isSocket({ res }: ContextRequest): boolean {
  return res !== undefined && 'readyState' in res
}

/** Whether the head of the answer leaves before any procedure has begun. */
export function isHeadGone({ info }: ContextRequest): boolean {
  return info?.accept === 'application/jsonl'
}

/** Whether a body is longer than one in JSON should be, or does not say how long it is. */
export function mayBeLong(request: ContextRequest): boolean {
  return !(Number(header(request, 'content-length')) <= SHORT_BODY)
}

/** Whether the answer is sent bit by bit, so that its head leaves before a procedure has ended. */
export function isStreamed(request: ContextRequest): boolean {
  return isHeadGone(request) || request.info?.type === 'subscription'
}
