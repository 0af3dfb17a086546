import { tablesOf } from '../schema.ts'
import { findDamage } from './backup.ts'
import { sqlite } from './driver.ts'
import { KNOWN } from './migrate.ts'

/** What is found in a file without writing to it, as opening it for use would. */
export interface Inspection {
  /** A table with the name of one of ours in a database that has no schema of ours. */
  readonly foreignTable: string | null
  /** What SQLite's own check says first. */
  readonly damage: string | null
}

/** @throws the engine's error for what is no database, or is locked; only with `whole` every page is looked at */
export function inspect(path: string, { whole }: { whole: boolean }): Inspection {
  const tables = tablesIn(path)
  const isOurs = tables.has('trpc_login_migrations')
  const foreignTable = isOurs ? undefined : tablesOf(KNOWN).find((name) => tables.has(name))
  return { foreignTable: foreignTable ?? null, damage: whole ? findDamage(path) : null }
}

function tablesIn(path: string): ReadonlySet<string> {
  const db = new sqlite.DatabaseSync(path, { readOnly: true, timeout: 5000 })
  try {
    const rows = db.prepare("select name from sqlite_schema where type = 'table'").all() as { name: string }[]
    return new Set(rows.map(({ name }) => name.toLowerCase()))
  } finally {
    db.close()
  }
}
