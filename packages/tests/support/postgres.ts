import type pg from 'pg'
import { inject } from 'vitest'
import { makeDatabase, query } from './postgres-database.ts'

const TABLES = "select tablename as name from pg_tables where schemaname = 'public' and tablename not like 'trpc_login%'"

export interface TestDatabase extends AsyncDisposable {
  readonly url: string
  query<T extends pg.QueryResultRow>(text: string): Promise<T[]>
  /** Removes every row, which is far quicker than another database. */
  clear(): Promise<void>
}

/** A database of its own on the run's PostgreSQL, with the schema in it unless told otherwise; it is dropped when disposed of. */
export async function createDatabase({ empty = false } = {}): Promise<TestDatabase> {
  const { url, drop } = await makeDatabase(inject('postgresUrl'), empty ? undefined : inject('postgresTemplate'))
  return {
    url,
    query: (text) => query(url, text),
    async clear() {
      const tables = await query<{ name: string }>(url, TABLES)
      await query(url, `truncate ${tables.map(({ name }) => name).join(', ')}`)
    },
    [Symbol.asyncDispose]: async () => {
      if (!inject('postgresIsOwn')) await drop()
    },
  }
}
