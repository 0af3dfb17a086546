import type { Kysely, Selectable, Transaction } from 'kysely'
import type { Schema, SessionRow, UserRow } from '../schema.ts'
import type { Announce } from './announcements.ts'

/** What the SQL stores need of an engine. */
export interface SqlEngine {
  /** Runs reads, which are done again where the connection to the database is lost. */
  query<T>(run: (db: Kysely<Schema>) => Promise<T>): Promise<T>
  /**
   * Runs a write transaction as if no other ran at the same time, and again where the engine finds that one did. Nothing but its
   * arguments may be used inside, and nothing else may be changed. What it announces is heard when it holds, and only then.
   */
  transaction<T>(run: (trx: Transaction<Schema>, announce: Announce) => Promise<T>, options?: TransactionOptions): Promise<T>
  /** Whether others write while a transaction is under way, so that one which is `lockFirst` has to lock. @default false */
  readonly locksRows?: boolean
  /** The prepared read behind every guarded call. */
  findSession(tokenHash: Uint8Array): Promise<FoundRow | null>
}

export interface TransactionOptions {
  /** The first statement writes, or locks, the rows that decide, so that the engine need not look for what others read. */
  readonly lockFirst?: boolean
  /** It must outlive the process, but may be gone after a power failure: nothing was acknowledged to anybody by it. */
  readonly mayBeLost?: boolean
  /** One of many that change much: what it wrote is put in its place right after it, so that no later act has to do it for all of them. */
  readonly writesBack?: boolean
  /** It has as many statements as there are rows, each of them short: it may take longer than an act otherwise may. */
  readonly mayTakeLong?: boolean
  /** Rows that are not ours may point to what it removes: then it has failed for good, and is not run again. */
  readonly mayBeReferenced?: boolean
}

/** PostgreSQL's `restrict_violation` and `foreign_key_violation`; SQLite has a code for the constraint, and a trigger where it restricts. */
const REFERENCED = new Set<unknown>(['23001', '23503', 787])
const SQLITE_TRIGGER = 1811

/** Whether a transaction failed because rows that are not ours point to what it removed. */
export function isReferenced(error: unknown): boolean {
  const { cause } = error as { cause?: { code?: string; errcode?: number; message?: string } }
  if (REFERENCED.has(cause?.code) || REFERENCED.has(cause?.errcode)) return true
  return cause?.errcode === SQLITE_TRIGGER && cause.message === 'FOREIGN KEY constraint failed'
}

/** What a look-up by hash gives back: all but the hash. */
export type FoundRow = Omit<SessionAndUserRow, 'token_hash'>

export type SessionAndUserRow = Selectable<SessionRow> & { [K in keyof UserRow as `u_${K}`]: UserRow[K] }

const MAX_VALUES = 500

/** Engines bound the number of values in one statement. */
export function inParts(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / MAX_VALUES) }, (_, part) => ids.slice(part * MAX_VALUES, (part + 1) * MAX_VALUES))
}
