import '../require-node.ts'
import { dirname, join, resolve } from 'node:path'
import type { TlsOptions } from '../http/tls.ts'
import { parseOrigin } from '../origin.ts'
import type { Provider } from '../providers/provider.ts'
import { postgresStorage } from '../storage/postgres.ts'
import { openSqlite } from '../storage/sqlite.ts'
import type { Storage } from '../storage/storage.ts'
import { prepareDataDir, requireDatabase } from './data-directory.ts'
import { readVariables } from './variables.ts'

export { ConfigError } from './config-error.ts'

/** What the environment says, ready for `createAuth` and `createServer`. */
export interface Config {
  readonly dataDir: string
  readonly database: DatabaseLocation
  /** What `createAuth` takes beside the storage. */
  readonly auth: {
    readonly registration: 'open' | 'closed'
    readonly trustedProxies: readonly string[]
    readonly providers: readonly Provider[]
    readonly roles: readonly string[]
    readonly origins: readonly string[]
    readonly baseUrl?: string
    readonly appUrl?: string
    readonly failurePath?: string
    readonly resetUrl?: string
  }
  /** What `createServer` takes beside auth and router. */
  readonly server: {
    readonly host: string
    readonly port: number
    readonly tls: TlsOptions
    readonly baseUrl?: string
    readonly origins: readonly string[]
    readonly keepAliveMs?: number
  }
  /**
   * Opens the database. An embedded one is made when missing, with its directory, and brought up to date; `create: false` and
   * `migrate: false` leave that. @throws `not_found` for one that is missing and is not to be made
   */
  openStorage(options?: { migrate?: boolean; create?: boolean }): Storage
}

/** Where the database is, without what nobody is to read. */
export type DatabaseLocation = { readonly kind: 'sqlite'; readonly file: string } | { readonly kind: 'postgres'; readonly address: string }

/**
 * Reads the `TRPC_LOGIN_*` variables of an environment. Use it where the command's configuration should rule your own server.
 * @throws ConfigError naming each variable that is unknown or wrong
 */
export function loadConfig(env: Readonly<Record<string, string | undefined>> = process.env): Config {
  const values = readVariables(env)
  const dataDir = resolve(values.DATA_DIR)
  const url = values.DATABASE_URL ?? `sqlite:${join(dataDir, 'login.db')}`
  const database = locate(url)
  const { TLS_CERT: certFile, TLS_KEY: keyFile } = values
  const baseUrl = values.BASE_URL === undefined ? {} : { baseUrl: parseOrigin(values.BASE_URL) }
  return {
    dataDir,
    database,
    auth: {
      registration: values.REGISTRATION,
      trustedProxies: values.TRUSTED_PROXIES,
      providers: values.PROVIDERS,
      roles: values.ROLES,
      origins: values.ORIGINS,
      ...baseUrl,
      ...(values.APP_URL === undefined ? {} : { appUrl: parseOrigin(values.APP_URL) }),
      ...(values.FAILURE_PATH === undefined ? {} : { failurePath: values.FAILURE_PATH }),
      ...(values.RESET_URL === undefined ? {} : { resetUrl: values.RESET_URL }),
    },
    server: {
      host: values.HOST,
      port: values.PORT,
      origins: values.ORIGINS,
      tls: certFile !== undefined && keyFile !== undefined ? { certFile, keyFile } : { developmentDir: dataDir },
      ...baseUrl,
      ...(values.KEEP_ALIVE_MS === undefined ? {} : { keepAliveMs: values.KEEP_ALIVE_MS }),
    },
    openStorage({ migrate = true, create = true } = {}) {
      if (database.kind === 'postgres') return postgresStorage({ url, pool: values.DATABASE_POOL })
      if (!create) requireDatabase(database.file)
      // With the database elsewhere nothing of ours is in it.
      if (dirname(database.file) === dataDir) prepareDataDir(dataDir)
      return openSqlite({ path: database.file, migrate })
    },
  }
}

function locate(url: string): DatabaseLocation {
  if (url.startsWith('sqlite:')) return { kind: 'sqlite', file: resolve(url.slice('sqlite:'.length)) }
  const { protocol, host, pathname } = URL.parse(url) ?? { protocol: 'postgres:', host: '', pathname: '' }
  return { kind: 'postgres', address: `${protocol}//${host}${pathname}` }
}
