import { sql } from 'kysely'
import { createListening, createPolling } from './postgres/changes.ts'
import { ANSWER_MS, createConnections } from './postgres/connections.ts'
import { loadDriver, parseTarget } from './postgres/driver.ts'
import { createEngine, guarded } from './postgres/engine.ts'
import { migrate, readSchema } from './postgres/migrate.ts'
import { createSqlStores } from './sql/stores.ts'
import type { Storage } from './storage.ts'

/** Where the PostgreSQL database is. */
export interface PostgresOptions {
  /**
   * `postgres://USER:PASSWORD@HOST:PORT/DATABASE`, with the driver's parameters such as `sslmode=verify-full`. `changes=poll` is
   * for engines and poolers without LISTEN and NOTIFY.
   */
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
  const changes = target.changes === 'listen' ? createListening(driver, target) : createPolling(connections, ANSWER_MS)
  const engine = createEngine(connections, changes)
  let closing: Promise<void> | undefined

  return {
    ...createSqlStores(engine),
    migrate: ({ dryRun = false } = {}) =>
      guarded(async () => (dryRun ? [...(await readSchema(driver, target)).pending] : await migrate(driver, target))),
    schema: () => guarded(() => readSchema(driver, target)),
    check: () => engine.query(async (db) => void (await sql`update trpc_login_lock set name = name where name = 'check'`.execute(db))),
    changes: () => guarded(changes.current),
    close() {
      closing ??= Promise.all([changes.close(), connections.close()]).then(() => {})
      return closing
    },
  }
}
