import { randomBytes } from 'node:crypto'
import { createServer as createHttpsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { AnyRouter } from '@trpc/server'
import { developmentTls } from './development-tls.ts'
import { createDirectPath } from './direct.ts'
import { createListener } from './listener.ts'
import { requireSchema } from './schema.ts'
import type { ServerOptions } from './server-options.ts'
import { answerUnparsable, drain, listen, refuseConnect, trackSockets } from './sockets.ts'
import { readKeyPair, TLS_POLICY, watchKeyPair } from './tls.ts'
import { isEventStream, trackUnderWay } from './under-way.ts'

const MAX_CONNECTIONS = 4000
const MAX_PER_ADDRESS = 200
const SWEEP_MS = 5000
const KEEP_ALIVE_MS = 10_000
// Longer than common balancers keep a connection, or they would send a request over one that is just being closed.
const KEEP_ALIVE_BEHIND_PROXIES_MS = 65_000
const DEFAULT_DIR = './.trpc-login'

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
  /** Lets requests in flight finish for at most 8 seconds, then closes everything, storage included. */
  close(): Promise<void>
  /** Closes at once. */
  abort(): void
}

/**
 * Serves a router over HTTPS: development certificate, origin rule, limits, security headers, health checks and graceful stop.
 * @throws TypeError when an option, the certificate or the database's schema is not fit for use; an error that names host, port and reason
 * when it cannot listen there
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
  // Connections of requests that were under way when the stop began become idle, and would stay open.
  const underWay = trackUnderWay(() => state.draining && server.closeIdleConnections())
  const listener = createListener(options, state, underWay, direct)
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
      keepAliveTimeout: keepAliveOf(options),
      maxHeaderSize: 16 * 1024,
      // Ours to refuse, as all that Node would refuse without the headers that belong to every answer.
      requireHostHeader: false,
    },
    listener,
  )
  server.on('checkContinue', listener).on('checkExpectation', listener).on('connect', refuseConnect(underWay))
  server.maxConnections = options.maxConnections ?? MAX_CONNECTIONS
  const sockets = trackSockets(server, options.maxConnectionsPerAddress ?? MAX_PER_ADDRESS)
  server.on('clientError', answerUnparsable(underWay))
  const sweep = setInterval(() => underWay.sweep(performance.now()), SWEEP_MS).unref()
  server.on('close', () => clearInterval(sweep))
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
  // As browsers write it: without the port that they leave out, and an IPv6 address in its short form.
  auth.useBaseUrl(options.baseUrl ?? new URL(url).origin)

  let closing: Promise<void> | undefined
  const destroySockets = () => {
    for (const socket of sockets.all()) socket.destroy()
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
      for (const res of underWay.all()) if (isEventStream(res)) res.destroy()
      for (const socket of sockets.unasked()) socket.destroy()
      closing ??= drain(server, destroySockets).then(() => auth.close())
      return closing
    },
    abort: destroySockets,
  }
}

function keepAliveOf({ auth, keepAliveMs }: Pick<ServerOptions<AnyRouter>, 'auth' | 'keepAliveMs'>): number {
  if (keepAliveMs === undefined) return auth.trustsProxies ? KEEP_ALIVE_BEHIND_PROXIES_MS : KEEP_ALIVE_MS
  if (Number.isInteger(keepAliveMs) && keepAliveMs >= 1000 && keepAliveMs <= 600_000) return keepAliveMs
  throw new TypeError(`createServer: keepAliveMs must be an integer from 1000 to 600000, got ${keepAliveMs}`)
}
