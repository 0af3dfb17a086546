import type pg from 'pg'
import { inject } from 'vitest'
import { makeDatabase, query } from './postgres-database.ts'

export interface TestDatabase extends AsyncDisposable {
  readonly url: string
  query<T extends pg.QueryResultRow>(text: string): Promise<T[]>
}

/** A database of its own on the run's PostgreSQL, with the schema in it unless told otherwise; it is dropped when disposed of. */
export async function createDatabase({ empty = false } = {}): Promise<TestDatabase> {
  const { url, drop } = await makeDatabase(inject('postgresUrl'), empty ? undefined : inject('postgresTemplate'))
  return { url, query: (text) => query(url, text), [Symbol.asyncDispose]: drop }
}
