import { sql } from 'kysely'
import { readChanges } from './postgres/changes.ts'
import { ANSWER_MS, createConnections } from './postgres/connections.ts'
import { loadDriver, parseTarget } from './postgres/driver.ts'
import { createEngine, guarded } from './postgres/engine.ts'
import { migrate, readSchema } from './postgres/migrate.ts'
import { checkTables } from './sql/check.ts'
import { createSqlStores } from './sql/stores.ts'
import type { Storage } from './storage.ts'

const MAX_POOL = 1000

/** Where the PostgreSQL database is. */
export interface PostgresOptions {
  /** `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the driver's parameters such as `sslmode=verify-full`. */
  readonly url: string
  /** How many connections this process holds at most; a quarter of them is left to reads. @default 10 */
  readonly pool?: number
}

/**
 * Everything in one PostgreSQL database, for any number of servers. The schema is made by `trpc-login migrate`, or by `migrate()`,
 * and never by a server that starts. Needs the package `pg`.
 * @throws TypeError when the url is not one, the pool is no number from 1 to 1000, or `pg` is not installed
 */
export function postgresStorage(options: PostgresOptions): Storage {
  const target = parseTarget(options.url)
  const driver = loadDriver()
  const { pool = 10 } = options
  if (!Number.isInteger(pool) || pool < 1 || pool > MAX_POOL) throw new TypeError(`pool must be a number from 1 to ${MAX_POOL}`)
  const connections = createConnections(driver, target, pool)
  const engine = createEngine(connections)
  let closing: Promise<void> | undefined

  return {
    ...createSqlStores(engine),
    migrate: ({ dryRun = false } = {}) =>
      guarded(async () => (dryRun ? [...(await readSchema(driver, target)).pending] : await migrate(driver, target))),
    schema: () => guarded(() => readSchema(driver, target)),
    check: () =>
      engine.transaction(
        async (trx) => {
          await checkTables(trx)
          await sql`update trpc_login_lock set name = name where name = 'check'`.execute(trx)
        },
        { lockFirst: true },
      ),
    // Not tried again on another connection: that may be to a server which never heard of what is known here.
    changes: (known) => guarded(() => connections.use(performance.now() + ANSWER_MS, (connection) => readChanges(connection, known))),
    close() {
      closing ??= connections.close()
      return closing
    },
  }
}
