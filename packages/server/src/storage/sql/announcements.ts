import type { Kysely } from 'kysely'
import { BUCKETS, bucketOf } from '../../buckets.ts'
import type { Schema } from '../schema.ts'

/**
 * Says whom a transaction concerns. `ended`: one of their sessions may have ended, or the users themselves changed; `moved`: only what
 * streams show of them did.
 */
export type Announce = (whom: readonly string[] | 'everyone', what: 'moved' | 'ended') => void

/** Raises `n` of some buckets, and `ended` of some of these; both are in ascending order. */
export type Raise = (db: Kysely<Schema>, moved: readonly number[], ended: readonly number[]) => Promise<void>

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
  const ended = moved.filter((bucket) => concerned.get(bucket))
  await raise(db, moved, ended)
  return result
}
