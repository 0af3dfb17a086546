import { sql } from 'kysely'
import { readChanges } from './postgres/changes.ts'
import { ANSWER_MS, createConnections } from './postgres/connections.ts'
import { loadDriver, parseTarget } from './postgres/driver.ts'
import { createEngine, guarded } from './postgres/engine.ts'
import { migrate, readSchema } from './postgres/migrate.ts'
import { checkTables } from './sql/check.ts'
import { createSqlStores } from './sql/stores.ts'
import type { Storage } from './storage.ts'

/** Where the PostgreSQL database is. */
export interface PostgresOptions {
  /** `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the driver's parameters such as `sslmode=verify-full`. */
  readonly url: string
}

/**
 * Everything in one PostgreSQL database, for any number of servers. The schema is made by `trpc-login migrate`, or by `migrate()`,
 * and never by a server that starts. Needs the package `pg`.
 * @throws TypeError when the url is not one, or `pg` is not installed
 */
export function postgresStorage(options: PostgresOptions): Storage {
  const target = parseTarget(options.url)
  const driver = loadDriver()
  const connections = createConnections(driver, target)
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
