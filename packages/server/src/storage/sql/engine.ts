import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Schema, SessionRow, UserRow } from '../schema.ts'

/** What the SQL stores need of an engine. */
export interface SqlEngine {
  /** Runs one read or a self-contained write. */
  query<T>(run: (db: Kysely<Schema>) => Promise<T>): Promise<T>
  /** Runs a write transaction, again where the engine asks for it. Nothing but its argument may be used inside. */
  transaction<T>(run: (trx: Transaction<Schema>) => Promise<T>): Promise<T>
  /** The prepared read behind every guarded call. */
  findSession(tokenHash: Uint8Array): Promise<SessionAndUserRow | null>
}

export type SessionAndUserRow = Selectable<SessionRow> & { [K in keyof UserRow as `u_${K}`]: UserRow[K] }

const MAX_VALUES = 500

/** Engines bound the number of values in one statement. */
export function inParts(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / MAX_VALUES) }, (_, part) => ids.slice(part * MAX_VALUES, (part + 1) * MAX_VALUES))
}
