import { findDamage } from './backup.ts'
import { sqlite } from './driver.ts'
import { readSchema, tablesIn } from './migrate.ts'

/** What is found in a file without writing to it, as opening it for use would. */
export interface Inspection {
  /** Whether a schema of ours is in it. */
  readonly isOurs: boolean
  /** What SQLite's own check says first. */
  readonly damage: string | null
}

/**
 * Looks at a file; only with `whole` at every page of it.
 * @throws the engine's error for what is no database, or is locked; TypeError where another program's tables are in the way
 */
export function inspect(path: string, { whole }: { whole: boolean }): Inspection {
  const db = new sqlite.DatabaseSync(path, { readOnly: true, timeout: 5000 })
  try {
    readSchema(db)
    return { isOurs: tablesIn(db).has('trpc_login_migrations'), damage: whole ? findDamage(path) : null }
  } finally {
    db.close()
  }
}
