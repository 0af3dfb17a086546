import { createRequire } from 'node:module'
import type pg from 'pg'

/** Longer than an answer to a caller may take (see `connections.ts`), so that the server gives up what its client gave up. */
const SERVER_LIMIT_MS = 2500
const CONNECT_MS = 2000

/** How to reach a database. */
export interface Target {
  readonly connectionString: string
}

/** @throws TypeError, without the URL, which holds a password */
export function parseTarget(url: string): Target {
  if (!/^postgres(ql)?:\/\/./.test(url)) throw new TypeError('url must be postgres://USER:PASSWORD@HOST:PORT/DATABASE')
  const [address = '', query = ''] = url.split('?', 2)
  const parameters = new URLSearchParams(query)
  // Of earlier versions, where it chose how servers hear of changes; the driver would send it on to the server.
  parameters.delete('changes')
  return { connectionString: parameters.size === 0 ? address : `${address}?${parameters.toString()}` }
}

/** The optional peer. @throws TypeError saying how to install it */
export function loadDriver(): typeof pg {
  try {
    return createRequire(import.meta.url)('pg') as typeof pg
  } catch (cause) {
    throw new TypeError('PostgreSQL needs the package pg; run: npm install pg', { cause })
  }
}

/** What every connection of ours is set to; `limited` ones give up what takes too long, also on the server's side. */
export function clientConfig(driver: typeof pg, { connectionString }: Target, limited: boolean): pg.ClientConfig {
  // Instants and counts are below 2^53; elsewhere in the process int8 stays what the application made of it.
  const types = new driver.TypeOverrides()
  types.setTypeParser(driver.types.builtins.INT8, Number)
  // Of the class that every engine gives.
  const { BYTEA } = driver.types.builtins
  const toBuffer = driver.types.getTypeParser(BYTEA) as (text: string) => Buffer
  types.setTypeParser(BYTEA, (text: string) => new Uint8Array(toBuffer(text)))
  return {
    connectionString,
    types,
    application_name: 'trpc-login',
    connectionTimeoutMillis: CONNECT_MS,
    keepAlive: true,
    // A caller that vanished in the middle of a transaction must not keep its locks.
    ...(limited ? { statement_timeout: SERVER_LIMIT_MS, idle_in_transaction_session_timeout: SERVER_LIMIT_MS } : {}),
  }
}
