import { closeSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { Kysely, SqliteDialect } from 'kysely'
import { AuthError } from '../errors.ts'
import { compareSchema, type Migration, migrations, requireNotNewer, type Schema } from './schema.ts'
import { createAttemptStore } from './sql/attempts.ts'
import { createAuditStore } from './sql/audit.ts'
import type { SessionAndUserRow, SqlEngine } from './sql/engine.ts'
import { createSessionStore, sessionAndUserQuery } from './sql/sessions.ts'
import { createUserStore } from './sql/users.ts'
import type { SchemaState, Storage } from './storage.ts'

// Earlier versions can lose or damage data when a checkpoint meets a restarting log ("WAL-reset bug").
const SQLITE_FLOOR = [3, 51, 3] as const
const MEMORY = ':memory:'
const KNOWN = migrations({ bytes: 'blob', key: 'text' })

/** Where the embedded database lives. */
export interface SqliteOptions {
  /** A file, created with its directory when missing; `:memory:` keeps everything in this process. */
  readonly path: string
  /** Bring the schema up to date when opening. @default true */
  readonly migrate?: boolean
}

/**
 * Everything in one SQLite file, through Node's own engine: for one machine, with any number of processes.
 * @throws TypeError when the file, its directory or the engine is not fit to be used
 */
export function sqliteStorage(options: SqliteOptions): Storage {
  const path = options.path === MEMORY ? MEMORY : resolve(options.path)
  if (path !== MEMORY) prepareFile(path)
  const writer = open(path)
  requireVersion(writer)
  if (options.migrate ?? true) applyMigrations(writer, false)
  const engine = createEngine(writer, path)

  return {
    users: createUserStore(engine),
    sessions: createSessionStore(engine),
    attempts: createAttemptStore(engine),
    audit: createAuditStore(engine),
    migrate: async ({ dryRun = false } = {}) => applyMigrations(writer, dryRun),
    schema: () => guarded(async () => readSchema(writer)),
    check: () =>
      engine.transaction(async (trx) => {
        await trx
          .updateTable('trpc_login_migrations')
          .set(({ ref }) => ({ version: ref('version') }))
          .execute()
      }),
    changes: engine.changes,
    close: engine.close,
  }
}

function createEngine(writer: DatabaseSync, path: string): SqlEngine & Pick<Storage, 'changes' | 'close'> {
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: asKyselyDatabase(writer) }) })
  // Its own connection, so that the hot read neither waits for a transaction of ours nor sees one half done.
  const reader = path === MEMORY ? null : open(path)
  let prepared: StatementSync | null = null
  let version: StatementSync | null = null
  let closed = false

  return {
    query: (run) => guarded(() => run(db)),
    // One writer at a time, from the first read on: nothing to lock, and nobody to tell.
    transaction: (run) => guarded(() => db.transaction().execute(run)),
    findSession: (tokenHash) =>
      guarded(async () => {
        const query = sessionAndUserQuery(db, tokenHash)
        if (reader === null) return (await query.executeTakeFirst()) ?? null
        prepared ??= reader.prepare(query.compile().sql)
        return (prepared.get(tokenHash) as SessionAndUserRow | undefined) ?? null
      }),
    changes: () =>
      guarded(async () => {
        // The reader's own view of what others did; in memory there is one connection, and no other process.
        version ??= (reader ?? writer).prepare(
          reader === null ? 'select total_changes() as version' : 'select data_version as version from pragma_data_version',
        )
        return (version.get() as { version: number }).version
      }),
    close: async () => {
      if (closed) return
      closed = true
      reader?.close()
      await db.destroy()
      if (writer.isOpen) writer.close()
    },
  }
}

async function guarded<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    throw new AuthError('unavailable', { cause })
  }
}

function open(path: string): DatabaseSync {
  const db = new DatabaseSync(path, { timeout: 5000, enableForeignKeyConstraints: true })
  db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma trusted_schema = off')
  return db
}

/** Kysely begins deferred, and such a transaction cannot wait for its turn once it has read. */
function asKyselyDatabase(db: DatabaseSync) {
  const statements = new Map<string, ReturnType<typeof adapt>>()
  return {
    close: () => db.close(),
    prepare(text: string) {
      const statement = statements.get(text) ?? adapt(db.prepare(text === 'begin' ? 'begin immediate' : text))
      // Queries are built from a fixed set of shapes; the bound is for lists of varying length.
      if (statements.size < 200) statements.set(text, statement)
      return statement
    },
  }
}

function adapt(statement: StatementSync) {
  type Values = Parameters<StatementSync['all']>
  return {
    reader: statement.columns().length > 0,
    all: (values: readonly unknown[]): unknown[] => statement.all(...(values as Values)),
    run: (values: readonly unknown[]) => statement.run(...(values as Values)),
    iterate: (values: readonly unknown[]): IterableIterator<unknown> => statement.iterate(...(values as Values)),
  }
}

function applyMigrations(db: DatabaseSync, dryRun: boolean): string[] {
  // Inside the lock from the first read on: of several processes that start at once, one applies and the others find it done.
  db.exec('begin immediate')
  try {
    const { pending, newer } = compareSchema(KNOWN, applied(db))
    requireNotNewer(newer)
    if (!dryRun) for (const migration of pending) applyMigration(db, migration)
    db.exec(dryRun ? 'rollback' : 'commit')
    return pending.map(({ version, name }) => `${version} ${name}`)
  } catch (error) {
    db.exec('rollback')
    throw error
  }
}

function readSchema(db: DatabaseSync): SchemaState {
  db.exec('begin immediate')
  try {
    const { pending, newer } = compareSchema(KNOWN, applied(db))
    return { pending: pending.map(({ version, name }) => `${version} ${name}`), newer }
  } finally {
    db.exec('rollback')
  }
}

/** Makes the table that says so where it is missing; the caller decides whether to keep it. */
function applied(db: DatabaseSync): ReadonlyMap<number, string> {
  db.exec(
    'create table if not exists trpc_login_migrations (version bigint primary key, name text not null, checksum text not null, applied_at bigint not null)',
  )
  const rows = db.prepare('select version, checksum from trpc_login_migrations').all() as { version: number; checksum: string }[]
  return new Map(rows.map(({ version, checksum }) => [version, checksum]))
}

function applyMigration(db: DatabaseSync, { version, name, checksum, statements }: Migration): void {
  for (const statement of statements) db.exec(statement)
  db.prepare("insert into trpc_login_migrations values (?, ?, ?, unixepoch('subsec') * 1000)").run(version, name, checksum)
}

function prepareFile(path: string): void {
  const directory = dirname(path)
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  // Made by us first: SQLite would create it with the process's own mask, and its log files copy its mode.
  closeSync(openSync(path, 'a', 0o600))
  if (process.platform === 'win32') return
  const wide = statSync(path).mode & 0o077
  if (wide !== 0) throw new TypeError(`${path} can be read by other users; run: chmod 600 ${path}`)
}

function requireVersion(db: DatabaseSync): void {
  const { version } = db.prepare('select sqlite_version() as version').get() as { version: string }
  const parts = version.split('.').map(Number)
  const difference = SQLITE_FLOOR.map((floor, index) => (parts[index] ?? 0) - floor).find((gap) => gap !== 0) ?? 0
  if (difference < 0)
    throw new TypeError(`SQLite ${version} can lose data; ${SQLITE_FLOOR.join('.')} or newer is needed, which Node 24.15 brings`)
}
