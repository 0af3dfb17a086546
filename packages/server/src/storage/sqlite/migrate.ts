import type { DatabaseSync } from 'node:sqlite'
import { compareSchema, type Migration, migrations, requireNoForeign, requireNotNewer } from '../schema.ts'
import type { SchemaState } from '../storage.ts'
import { STAND_STILL_MS, START_WAIT_MS } from './file.ts'

const MIGRATIONS_TABLE =
  'create table if not exists trpc_login_migrations (version bigint primary key, name text not null, checksum text not null, applied_at bigint not null)'
const KNOWN = migrations({ bytes: 'blob', key: 'text' })

/** Brings the schema up to date. Names what it applied, or would apply. */
export function applyMigrations(db: DatabaseSync, dryRun: boolean): string[] {
  // Longer than any act of a server waits: others may be migrating.
  db.exec(`pragma busy_timeout = ${START_WAIT_MS}`)
  try {
    // Inside the lock from the first read on: of several processes that start at once, one applies and the others find it done.
    db.exec('begin immediate')
    const { pending, newer } = compareHere(db)
    requireNotNewer(newer)
    if (!dryRun) db.exec(MIGRATIONS_TABLE)
    if (!dryRun) for (const migration of pending) applyMigration(db, migration)
    db.exec(dryRun ? 'rollback' : 'commit')
    return pending.map(({ version, name }) => `${version} ${name}`)
  } finally {
    // Not where an error, such as a full disk, has ended it already: that would hide the error.
    if (db.isTransaction) db.exec('rollback')
    db.exec(`pragma busy_timeout = ${STAND_STILL_MS}`)
  }
}

/** What separates the schema from this program's; changes nothing. @throws TypeError where another program's tables are in the way */
export function readSchema(db: DatabaseSync): SchemaState {
  const { pending, newer } = compareHere(db)
  return { pending: pending.map(({ version, name }) => `${version} ${name}`), newer }
}

function compareHere(db: DatabaseSync) {
  // First the tables: what another process applies between the two is then no table of another program.
  const existing = tablesIn(db)
  const compared = compareSchema(KNOWN, applied(db))
  requireNoForeign(compared.pending, existing)
  return compared
}

/** Names as SQLite compares them. */
export function tablesIn(db: DatabaseSync): ReadonlySet<string> {
  const rows = db.prepare("select name from sqlite_schema where type in ('table', 'view')").all() as { name: string }[]
  return new Set(rows.map(({ name }) => name.toLowerCase()))
}

function applied(db: DatabaseSync): ReadonlyMap<number, string> {
  const isFresh = db.prepare("select 1 from sqlite_master where name = 'trpc_login_migrations'").get() === undefined
  if (isFresh) return new Map()
  const rows = db.prepare('select version, checksum from trpc_login_migrations').all() as { version: number; checksum: string }[]
  return new Map(rows.map(({ version, checksum }) => [version, checksum]))
}

function applyMigration(db: DatabaseSync, { version, name, checksum, statements }: Migration): void {
  for (const statement of statements) db.exec(statement)
  db.prepare("insert into trpc_login_migrations values (?, ?, ?, unixepoch('subsec') * 1000)").run(version, name, checksum)
}
