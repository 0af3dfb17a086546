import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { compareSchema, type Migration, migrations, requireNoForeign, tablesOf } from '../schema.ts'
import type { SchemaState } from '../storage.ts'
import { clientConfig, type Target } from './driver.ts'

const ANSWER_MS = 2000

const TRIES = 10
/** Of a table that another process made at the same moment, and of one that is not there. */
const MADE_MEANWHILE = new Set(['23505', '42P07', '42710', '40001'])
const NO_SUCH_TABLE = '42P01'

// A row to lock rather than an advisory lock: engines and poolers that speak the protocol honour rows.
const FOUNDATION = [
  'create table if not exists trpc_login_lock (name text primary key)',
  `create table if not exists trpc_login_migrations (
    version bigint primary key, name text not null, checksum text not null, applied_at bigint not null
  )`,
  "insert into trpc_login_lock values ('migrations'), ('check') on conflict do nothing",
]

// Bytes decide the order, as on SQLite, whatever language the database was made for.
const KNOWN = migrations({ bytes: 'bytea', key: 'text collate "C"' })

/**
 * Brings the schema up to date, in one transaction under a lock. Names what it applied.
 * @throws TypeError, before anything is made, where another program's tables are in the way
 */
export function migrate(driver: typeof pg, target: Target): Promise<string[]> {
  // Without limits: an index over many rows takes its time.
  return withClient(driver, clientConfig(driver, target, false), async (client) => {
    const { rows } = await client.query<{ server_encoding: string }>('show server_encoding')
    if (rows[0]?.server_encoding !== 'UTF8')
      throw new TypeError(`the database has the encoding ${rows[0]?.server_encoding}; it must be UTF8`)
    await compareHere(client)
    await layFoundation(client)
    await client.query('begin')
    try {
      await client.query("select name from trpc_login_lock where name = 'migrations' for update")
      const { pending } = await compareHere(client)
      for (const migration of pending) await apply(client, migration)
      await client.query('commit')
      return pending.map(({ version, name }) => `${version} ${name}`)
    } catch (error) {
      // A connection that is lost cannot, and that must not hide the error.
      await client.query('rollback').catch(() => {})
      throw error
    }
  })
}

/** What separates the schema from this program's; changes nothing. */
export function readSchema(driver: typeof pg, target: Target): Promise<SchemaState> {
  return withClient(driver, { ...clientConfig(driver, target, true), query_timeout: ANSWER_MS }, async (client) => {
    const { pending, newer } = await compareHere(client)
    return { pending: pending.map(({ version, name }) => `${version} ${name}`), newer }
  })
}

async function compareHere(client: pg.Client) {
  // First the tables: what another process applies between the two is then no table of another program.
  const existing = await tablesIn(client)
  const compared = compareSchema(KNOWN, await applied(client))
  requireNoForeign(compared.pending, existing)
  return compared
}

/** Those of our names that stand for a table or a view where ours are looked for. */
async function tablesIn(client: pg.Client): Promise<ReadonlySet<string>> {
  const text = 'select name from unnest($1::text[]) as names (name) where to_regclass(name) is not null'
  const { rows } = await client.query<{ name: string }>(text, [tablesOf(KNOWN)])
  return new Set(rows.map(({ name }) => name))
}

async function withClient<T>(driver: typeof pg, config: pg.ClientConfig, run: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new driver.Client(config)
  client.on('error', () => {})
  try {
    await client.connect()
    return await run(client)
  } finally {
    // Also where it was not let in: its connection would keep the process.
    await client.end()
  }
}

/** `if not exists` looks first and makes then; of several that look at once, all but one fail, and find it made when they look again. */
async function layFoundation(client: pg.Client): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    try {
      for (const statement of FOUNDATION) await client.query(statement)
      return
    } catch (error) {
      if (!MADE_MEANWHILE.has(codeOf(error)) || tries === TRIES) throw error
    }
    await sleep(20 * tries)
  }
}

async function applied(client: pg.Client): Promise<ReadonlyMap<number, string>> {
  try {
    const { rows } = await client.query<{ version: number; checksum: string }>('select version, checksum from trpc_login_migrations')
    return new Map(rows.map(({ version, checksum }) => [version, checksum]))
  } catch (error) {
    if (codeOf(error) !== NO_SUCH_TABLE) throw error
    return new Map()
  }
}

async function apply(client: pg.Client, { version, name, checksum, statements }: Migration): Promise<void> {
  for (const statement of statements) await client.query(statement)
  const now = 'cast(extract(epoch from current_timestamp) * 1000 as bigint)'
  await client.query(`insert into trpc_login_migrations values ($1, $2, $3, ${now})`, [version, name, checksum])
}

export function codeOf(error: unknown): string {
  return (error as { code?: string }).code ?? ''
}
