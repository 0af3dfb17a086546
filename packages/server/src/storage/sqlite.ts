import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { Kysely, SqliteDialect, sql, type Transaction } from 'kysely'
import { AuthError } from '../errors.ts'
import type { Schema } from './schema.ts'
import { announcing } from './sql/announcements.ts'
import { checkTables } from './sql/check.ts'
import type { FoundRow, SqlEngine } from './sql/engine.ts'
import { sessionAndUserQuery } from './sql/sessions.ts'
import { createSqlStores } from './sql/stores.ts'
import { createChangesReader, raise } from './sqlite/changes.ts'
import { MEMORY, open, prepareFile, requireVersion, SQLITE_BUSY, STAND_STILL_MS } from './sqlite/file.ts'
import { applyMigrations, readSchema } from './sqlite/migrate.ts'
import { createReadTogether } from './sqlite/read-together.ts'
import type { Storage } from './storage.ts'

// What one act may take while other processes write.
const ANSWER_MS = 2000
const MAX_PAUSE_MS = 10

/** Where the embedded database lives. */
export interface SqliteOptions {
  /** A file, created with its directory when missing; `:memory:` keeps everything in this process. */
  readonly path: string
  /** Bring the schema up to date when opening. @default true */
  readonly migrate?: boolean
}

/**
 * Everything in one SQLite file, through Node's own engine: for one machine, with any number of processes. The file is opened, and made,
 * when it is first used: a build that only evaluates the module makes none.
 * @throws TypeError at the first use, when the file, its directory or the engine is not fit to be used
 */
export function sqliteStorage(options: SqliteOptions): Storage {
  let opened: Storage | undefined
  const storage = () => (opened ??= openOrSayWhy(options))
  return {
    get users() {
      return storage().users
    },
    get sessions() {
      return storage().sessions
    },
    get attempts() {
      return storage().attempts
    },
    get audit() {
      return storage().audit
    },
    get identities() {
      return storage().identities
    },
    get transactions() {
      return storage().transactions
    },
    migrate: async (how) => storage().migrate(how),
    schema: async () => storage().schema(),
    check: async () => storage().check(),
    changes: async (known) => storage().changes(known),
    close: async () => opened?.close(),
  }
}

function openOrSayWhy(options: SqliteOptions): Storage {
  try {
    return openSqlite(options)
  } catch (cause) {
    if (cause instanceof TypeError) throw cause
    throw new TypeError(`${options.path} cannot be used as a database: ${(cause as Error).message}`, { cause })
  }
}

/** The same, opened at once. @throws TypeError when the file, its directory or the engine is not fit to be used */
export function openSqlite(options: SqliteOptions): Storage {
  const path = options.path === MEMORY ? MEMORY : resolve(options.path)
  if (path !== MEMORY) prepareFile(path)
  const writer = open(path)
  try {
    requireVersion(writer)
    if (options.migrate ?? true) applyMigrations(writer, false)
    writer.exec(`pragma busy_timeout = ${STAND_STILL_MS}`)
    return createStorage(writer, path)
  } catch (error) {
    // Tried again at the next use, so it must leave nothing open.
    writer.close()
    throw error
  }
}

function createStorage(writer: DatabaseSync, path: string): Storage {
  const engine = createEngine(writer, path)
  const opened = identityOf(path)
  return {
    ...createSqlStores(engine),
    migrate: async ({ dryRun = false } = {}) => applyMigrations(writer, dryRun),
    schema: () => guarded(async () => readSchema(writer)),
    check: () =>
      engine.transaction(async (trx) => {
        // What is written goes on to a file that has no name any more, and is gone with the process.
        if (identityOf(path) !== opened)
          throw new Error(`${path} was removed or replaced while it was open; stop all servers and restore it`)
        await checkTables(trx)
        await trx
          .updateTable('trpc_login_migrations')
          .set(({ ref }) => ({ version: ref('version') }))
          .execute()
      }),
    changes: engine.changes,
    close: engine.close,
  }
}

/** Which file has this name now. */
function identityOf(path: string): string | null {
  const stats = path === MEMORY ? undefined : statSync(path, { throwIfNoEntry: false })
  return stats === undefined ? null : `${stats.dev}:${stats.ino}`
}

function createEngine(writer: DatabaseSync, path: string): SqlEngine & Pick<Storage, 'changes' | 'close'> {
  const db = new Kysely<Schema>({ dialect: new SqliteDialect({ database: asKyselyDatabase(writer) }) })
  // Its own connection, so that the hot read neither waits for a transaction of ours nor sees one half done. Not memory-mapped: that
  // would save a fifth of the look-up among many sessions, and turn an error of the disk from a 503 into the end of the process.
  const reader = path === MEMORY ? null : open(path)
  let prepared: StatementSync | null = null
  let readChanges: ReturnType<typeof createChangesReader> | null = null
  let closed = false

  function findNow(tokenHash: Uint8Array): FoundRow | null {
    // Compiled once: putting the query together takes longer than running it.
    prepared ??= (reader ?? writer).prepare(sessionAndUserQuery(db, tokenHash).compile().sql)
    return (prepared.get(tokenHash) as FoundRow | undefined) ?? null
  }
  const findTogether = createReadTogether(reader ?? writer, findNow)

  return {
    query: (run) => guarded(() => repeated(() => run(db))),
    // One writer at a time, from the first read on: nothing to lock.
    transaction: (run, { mayBeLost = false, writesBack = false } = {}) => {
      const whole = (trx: Transaction<Schema>) => announcing(trx, raise, run)
      return guarded(async () => {
        const result = await repeated(() => (mayBeLost ? withoutWaitingForDisk(db, whole) : db.transaction().execute(whole)))
        if (writesBack) await turn()
        if (writesBack && !closed) reader?.exec('pragma wal_checkpoint(passive)')
        return result
      })
    },
    findSession: (tokenHash) => guarded(async () => (reader === null ? findNow(tokenHash) : findTogether(tokenHash))),
    changes: (known) =>
      guarded(async () => {
        readChanges ??= createChangesReader(reader ?? writer, { isShared: reader !== null })
        return readChanges(known)
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

/** The disk is waited for by the next transaction that counts; that is what takes longest in a login. */
function withoutWaitingForDisk<T>(db: Kysely<Schema>, run: (trx: Transaction<Schema>) => Promise<T>): Promise<T> {
  return db.connection().execute(async (connection) => {
    await sql`pragma synchronous = normal`.execute(connection)
    try {
      return await connection.transaction().execute(run)
    } finally {
      await sql`pragma synchronous = full`.execute(connection)
    }
  })
}

/** Another process writes: what could not begin is begun again, and meanwhile this one does something else. */
async function repeated<T>(act: () => Promise<T>): Promise<T> {
  const deadline = performance.now() + ANSWER_MS
  for (;;) {
    try {
      return await act()
    } catch (error) {
      const { errcode = 0 } = error as { errcode?: number }
      // The lower byte; the rest says why.
      if ((errcode & 0xff) !== SQLITE_BUSY || performance.now() > deadline) throw error
    }
    await sleep(Math.random() * MAX_PAUSE_MS)
  }
}

async function guarded<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    throw new AuthError('unavailable', { cause })
  }
}

/** Kysely begins deferred, and such a transaction cannot wait for its turn once it has read. */
function asKyselyDatabase(db: DatabaseSync) {
  const statements = new Map<string, ReturnType<typeof adapt>>()
  return {
    close: () => db.close(),
    prepare(text: string) {
      // A pragma acts when it is prepared, so each time anew.
      if (text.startsWith('pragma')) return adapt(db.prepare(text))
      // An error such as a full disk has ended the transaction already, and that it has must not hide the error.
      if (text === 'rollback' && !db.isTransaction) return NOTHING
      const statement = statements.get(text) ?? adapt(db.prepare(text === 'begin' ? 'begin immediate' : text))
      // Queries are built from a fixed set of shapes; the bound is for lists of varying length.
      if (statements.size < 200) statements.set(text, statement)
      return statement
    },
  }
}

const NOTHING = { reader: false, all: () => [], run: () => ({ changes: 0, lastInsertRowid: 0 }), iterate: () => [].values() }

function adapt(statement: StatementSync) {
  type Values = Parameters<StatementSync['all']>
  return {
    reader: statement.columns().length > 0,
    all: (values: readonly unknown[]): unknown[] => statement.all(...(values as Values)),
    run: (values: readonly unknown[]) => statement.run(...(values as Values)),
    iterate: (values: readonly unknown[]): IterableIterator<unknown> => statement.iterate(...(values as Values)),
  }
}
