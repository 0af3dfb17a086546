import type { AnyRouter, inferRouterContext } from '@trpc/server'
import type { CreateHTTPContextOptions } from '@trpc/server/adapters/standalone'
import type { Auth } from '../auth.ts'
import type { TlsOptions } from './tls.ts'

/** How the HTTPS server is set up. */
export interface ServerOptions<TRouter extends AnyRouter> {
  readonly auth: Auth
  readonly router: TRouter
  /** What the application's context holds besides `auth`; called once per request. */
  readonly createContext?: (
    request: CreateHTTPContextOptions,
  ) => Omit<inferRouterContext<TRouter>, 'auth'> | Promise<Omit<inferRouterContext<TRouter>, 'auth'>>
  /** The certificate: PEM files, or a directory for a development authority, which is for loopback. @default a development certificate in `./.trpc-login` */
  readonly tls?: TlsOptions
  /** Where to listen. @default '127.0.0.1' */
  readonly host?: string
  /** 0 picks a free one. @default 8443 */
  readonly port?: number
  /** Where procedures live. @default '/api/' */
  readonly basePath?: string
  /** The public origin, where it differs from the address. @default the address */
  readonly baseUrl?: string
  /** Further browser origins that may call, such as `https://app.example.com`. */
  readonly origins?: readonly string[]
  /** 48 random bytes with which TLS sessions are resumed; processes that share a port share them. @default this process's own */
  readonly ticketKeys?: Buffer
  /**
   * How long a connection on which nothing is asked stays open, from 1000 to 600000; longer than the balancer in front keeps it. @default
   * 65000 with `trustedProxies`, else 10000
   */
  readonly keepAliveMs?: number
  /** Raise it behind a proxy, whose address is that of every caller. @default 200 */
  readonly maxConnectionsPerAddress?: number
  /** Connections in all; raise it, and the system's limit of open files, for more open streams. @default 4000 */
  readonly maxConnections?: number
}
