import type { Kysely } from 'kysely'
import { BUCKETS, bucketOf } from '../../buckets.ts'
import type { Schema } from '../schema.ts'

/**
 * Says whom a transaction concerns. `ended`: one of their sessions may have ended, or the users themselves changed; `moved`: only what
 * streams show of them did.
 */
export type Announce = (whom: readonly string[] | 'everyone', what: 'moved' | 'ended') => void

/** Raises the counters of buckets, in ascending order; answers how many rows that were. */
export type Raise = (db: Kysely<Schema>, moved: readonly number[], ended: readonly number[]) => Promise<number>

/**
 * Runs a transaction's statements, and raises the buckets of those whom it concerns as its last one: others hear of it when it holds
 * and not otherwise, and its locks are held for no longer than the commit takes.
 */
export async function announcing<T, D extends Kysely<Schema>>(
  db: D,
  raise: Raise,
  run: (db: D, announce: Announce) => Promise<T>,
): Promise<T> {
  const concerned = new Map<number, boolean>()
  const result = await run(db, (whom, what) => {
    const buckets = whom === 'everyone' ? Array.from({ length: BUCKETS }, (_, bucket) => bucket) : whom.map(bucketOf)
    for (const bucket of buckets) concerned.set(bucket, what === 'ended' || concerned.get(bucket) === true)
  })
  if (concerned.size === 0) return result
  const moved = [...concerned.keys()].toSorted((a, b) => a - b)
  const raised = await raise(
    db,
    moved,
    moved.filter((bucket) => concerned.get(bucket)),
  )
  // A change that nobody hears of leaves streams open that must end.
  if (raised !== moved.length) throw new Error(`the table changes lacks rows: it must hold the buckets 0 to ${BUCKETS - 1}`)
  return result
}
