import { randomBytes } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createHttpsServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { AnyRouter, inferRouterContext, TRPCError } from '@trpc/server'
import { type CreateHTTPContextOptions, createHTTPHandler } from '@trpc/server/adapters/standalone'
import type { TRPCRequestInfo } from '@trpc/server/http'
import { addressBucket } from '../address.ts'
import type { Auth } from '../auth.ts'
import { type AuthContext, aloneViolation } from '../context.ts'
import { AuthError } from '../errors.ts'
import { parseOrigin } from '../origin.ts'
import { newRequestId, withRequestScope } from '../request-scope.ts'
import { developmentTls } from './development-tls.ts'
import { createDirectPath } from './direct.ts'
import type { AnswerMeta, Failure } from './direct-answer.ts'
import { MAX_BODY, refuse, refuseAtGate, VARY } from './gate.ts'
import { rawResponse, SECURITY_HEADERS } from './headers.ts'
import { createOAuthRoutes } from './oauth-routes.ts'
import { requireSchema } from './schema.ts'
import { readKeyPair, TLS_POLICY, type TlsOptions, watchKeyPair } from './tls.ts'

const MAX_BATCH = 10
const MAX_PER_ADDRESS = 200
const DRAIN_MS = 10_000
const DEFAULT_DIR = './.trpc-login'

/** How the HTTPS server is set up. */
export interface ServerOptions<TRouter extends AnyRouter> {
  readonly auth: Auth
  readonly router: TRouter
  /** What the application's context holds beside `auth`; called once per request. */
  readonly createContext?: (
    request: CreateHTTPContextOptions,
  ) => Omit<inferRouterContext<TRouter>, 'auth'> | Promise<Omit<inferRouterContext<TRouter>, 'auth'>>
  /** @default a development certificate in `./.trpc-login` */
  readonly tls?: TlsOptions
  /** @default '127.0.0.1' */
  readonly host?: string
  /** 0 picks a free one. @default 8443 */
  readonly port?: number
  /** Where procedures live. @default '/api/' */
  readonly basePath?: string
  /** The public origin, where it differs from the address. */
  readonly baseUrl?: string
  /** Further browser origins that may call, such as `https://app.example.com`. */
  readonly origins?: readonly string[]
  /** 48 random bytes with which TLS sessions are resumed; processes that share a port share them. @default this process's own */
  readonly ticketKeys?: Buffer
  /** Raise it behind a proxy, whose address is that of every caller. @default 200 */
  readonly maxConnectionsPerAddress?: number
}

/** A server that accepts connections. */
export interface RunningServer {
  readonly url: string
  readonly port: number
  /** The development authority's certificate, where one is used. */
  readonly caFile: string | null
  /** Looks at the certificate files now rather than at the next poll. */
  reloadTls(): void
  /** Sessions are resumed with these keys from now on, and no longer with those before. */
  setTicketKeys(keys: Buffer): void
  /** Lets requests in flight finish for up to 10 seconds, then closes everything, storage included. */
  close(): Promise<void>
  /** Closes at once. */
  abort(): void
}

/**
 * Serves a router over HTTPS: development certificate, origin rule, limits, security headers, health checks and graceful stop.
 * @throws TypeError when an option, the certificate or the database's schema is not fit for use
 */
export function createServer<TRouter extends AnyRouter>(options: ServerOptions<TRouter>): Promise<RunningServer> {
  return createServerWith(createDirectPath, options)
}

/** The server with another direct path, or with one that takes nothing: how it is compared with tRPC's own handler. */
export async function createServerWith<TRouter extends AnyRouter>(
  direct: typeof createDirectPath,
  options: ServerOptions<TRouter>,
): Promise<RunningServer> {
  const { auth, host = '127.0.0.1', port = 8443, tls = { developmentDir: DEFAULT_DIR } } = options
  await requireSchema(auth)
  const files = 'certFile' in tls ? tls : null
  const development = 'developmentDir' in tls ? await developmentTls(tls.developmentDir, host, Date.now()) : null
  const pair = development ?? readKeyPair(files?.certFile ?? '', files?.keyFile ?? '', Date.now())
  const state = { draining: false }
  let ticketKeys = options.ticketKeys ?? randomBytes(48)
  const server = createHttpsServer(
    {
      ...TLS_POLICY,
      cert: pair.cert,
      key: pair.key,
      ticketKeys,
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: 5000,
      headersTimeout: 10_000,
      requestTimeout: 15_000,
      connectionsCheckingInterval: 2000,
      keepAliveTimeout: 10_000,
      maxHeaderSize: 16 * 1024,
    },
    createListener(options, state, direct),
  )
  server.maxRequestsPerSocket = 1000
  server.maxConnections = 4000
  const sockets = trackSockets(server, options.maxConnectionsPerAddress ?? MAX_PER_ADDRESS)
  // What was under way when the stop began leaves its connection idle, and open.
  const answers = trackAnswers(server, () => state.draining && server.closeIdleConnections())
  server.on('clientError', answerUnparsable)
  server.on('tlsClientError', (_error, socket) => socket.destroy())

  const watch =
    files &&
    watchKeyPair(
      files.certFile,
      files.keyFile,
      (next) => server.setSecureContext({ ...TLS_POLICY, ...next, ticketKeys }),
      (error) => auth.log.error({ error: error.message }, 'tls_reload_failed'),
    )
  await listen(server, host, port)
  server.on('error', (error) => auth.log.error({ error: String(error) }, 'server_error'))
  const address = server.address() as AddressInfo

  const url = `https://${host.includes(':') ? `[${host}]` : host}:${address.port}`
  auth.useBaseUrl(options.baseUrl ?? url)

  let closing: Promise<void> | undefined
  const destroySockets = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url,
    port: address.port,
    caFile: development?.caFile ?? null,
    reloadTls: () => watch?.reload(),
    setTicketKeys(keys) {
      ticketKeys = keys
      server.setTicketKeys(keys)
    },
    close() {
      state.draining = true
      watch?.stop()
      for (const res of answers) if (isEventStream(res)) res.destroy()
      closing ??= drain(server, destroySockets).then(() => auth.close())
      return closing
    },
    abort: destroySockets,
  }
}

function createListener<TRouter extends AnyRouter>(
  options: ServerOptions<TRouter>,
  state: { draining: boolean },
  direct: typeof createDirectPath,
) {
  const { auth, router, baseUrl } = options
  const basePath = `/${(options.basePath ?? '/api/').replace(/^\/+|\/+$/g, '')}/`
  const allowedOrigins = new Set([...(options.origins ?? []), ...(baseUrl === undefined ? [] : [baseUrl])].map(parseOrigin))
  const shared = {
    router,
    basePath,
    maxBodySize: MAX_BODY,
    maxBatchSize: MAX_BATCH,
    createContext: async (request: CreateHTTPContextOptions) => ({
      ...(await options.createContext?.(request)),
      ...auth.createContext(request),
    }),
    onError: ({ error, path, ctx }: Failure) => logUnexpected(auth, error, path, ctx),
  }
  const answer = direct({ ...shared, metaOf })
  const handle = createHTTPHandler({ ...shared, responseMeta: ({ errors, info }) => toResponseMeta(metaOf(errors, info)) })

  const oauthRoutes = createOAuthRoutes(auth)

  return (req: IncomingMessage, res: ServerResponse): void => {
    const id = newRequestId()
    for (const name in SECURITY_HEADERS) res.setHeader(name, SECURITY_HEADERS[name] as string)
    res.setHeader('X-Request-Id', id)
    if (state.draining) res.setHeader('Connection', 'close')
    withRequestScope({ id, plain: req.headers.accept === 'application/json', vetted: true }, () => {
      if (req.url === '/healthz') return answerHealth(res, true)
      if (req.url === '/readyz') return void answerReady(auth, res, state.draining)
      if (oauthRoutes(req, res)) return
      if (refuseAtGate(req, res, { basePath, allowedOrigins }) || refuseLongBody(req, res)) return
      if (answer(req, res)) return
      // tRPC aborts a procedure's signal when the caller leaves, but not when a guard ends the stream: the procedure would wait on.
      res.once('finish', () => isEventStream(res) && req.emit('aborted'))
      handle(req, res)
    })
  }
}

/** tRPC reads a body only for procedures with an input; a stated length is refused for all. */
function refuseLongBody(req: IncomingMessage, res: ServerResponse): boolean {
  return Number(req.headers['content-length'] ?? 0) > MAX_BODY && refuse(res, 413, 'invalid_input', `The body may have ${MAX_BODY} bytes`)
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
  res.setHeader('Content-Type', 'application/json; charset=utf-8')
  res.end(JSON.stringify({ ok }))
}

async function answerReady(auth: Auth, res: ServerResponse, draining: boolean): Promise<void> {
  const ready =
    !draining &&
    (await auth.storage.check().then(
      () => true,
      () => false,
    ))
  answerHealth(res, ready)
}

function answerUnparsable(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
  const [status, phrase] = PARSE_FAILURES[error.code ?? ''] ?? [400, 'Bad Request']
  socket.end(rawResponse(status, phrase), () => socket.destroy())
}

const PARSE_FAILURES: Readonly<Record<string, readonly [number, string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'Request Header Fields Too Large'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'Content Too Large'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout'],
}

/** Node's own closing leaves half-open sockets be, and they would hold up the stop. */
function trackSockets(server: Server, maxPerAddress: number): Set<Socket> {
  const sockets = new Set<Socket>()
  const counts = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const bucket = addressBucket(socket.remoteAddress ?? null)
    const count = counts.get(bucket) ?? 0
    if (count >= maxPerAddress) return void socket.destroy()
    counts.set(bucket, count + 1)
    socket.once('close', () => {
      const left = (counts.get(bucket) ?? 1) - 1
      if (left === 0) counts.delete(bucket)
      else counts.set(bucket, left)
    })
    sockets.add(socket)
    socket.on('error', () => socket.destroy())
    socket.once('close', () => sockets.delete(socket))
  })
  return sockets
}

function trackAnswers(server: Server, onClose: () => void): Set<ServerResponse> {
  const answers = new Set<ServerResponse>()
  server.on('request', (_req, res: ServerResponse) => {
    answers.add(res)
    res.once('close', () => {
      answers.delete(res)
      onClose()
    })
  })
  return answers
}

/** A stream has no end of its own to wait for, and its reader comes back by itself. */
function isEventStream(res: ServerResponse): boolean {
  return String(res.getHeader('content-type') ?? '').startsWith('text/event-stream')
}

function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.removeListener('error', reject)
      resolve()
    })
  })
}

function drain(server: Server, destroySockets: () => void): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(destroySockets, DRAIN_MS)
    server.close(() => {
      clearTimeout(timer)
      resolve()
    })
    server.closeIdleConnections()
  })
}
