import type { Transaction } from 'kysely'
import type { AttemptRow, Schema } from '../schema.ts'
import type { AttemptStore, Attempts } from '../storage.ts'
import type { SqlEngine } from './engine.ts'

// Marks a row that was made only to be locked.
const NOT_THERE = -1

export function createAttemptStore({ transaction, locksRows = false }: SqlEngine): AttemptStore {
  return {
    change: (keys, decide) =>
      transaction(
        async (trx) => {
          const rows = await (locksRows ? lockRows(trx, keys) : trx.selectFrom('attempts').selectAll().where('key', 'in', keys).execute())
          const current = rows
            .filter((row) => row.expires_at !== NOT_THERE)
            .map((row) => [row.key, { count: row.count, blockedUntil: row.blocked_until, expiresAt: row.expires_at }] as const)
          const decided = decide(new Map(current))
          const made = rows.filter((row) => row.expires_at === NOT_THERE && !decided.has(row.key)).map(({ key }) => key)
          await write(trx, [...decided, ...made.map((key) => [key, null] as const)])
        },
        { lockFirst: true, mayBeLost: true },
      ),
    purge: (expiredBefore, limit) =>
      transaction(
        async (trx) => {
          const due = trx.selectFrom('attempts').select('key').where('expires_at', '<', expiredBefore).orderBy('expires_at').limit(limit)
          // Asked again of each row: one that counts anew since it was found due must stay.
          const removal = trx.deleteFrom('attempts').where('key', 'in', due).where('expires_at', '<', expiredBefore)
          return Number((await removal.executeTakeFirst()).numDeletedRows)
        },
        { lockFirst: true, mayBeLost: true, writesBack: true },
      ),
  }
}

/** A counter that does not exist cannot be locked, so it is made; always in the same order, so that nobody waits in a circle. */
function lockRows(trx: Transaction<Schema>, keys: readonly string[]): Promise<AttemptRow[]> {
  const rows = [...new Set(keys)].toSorted().map((key) => ({ key, count: 0, blocked_until: 0, expires_at: NOT_THERE }))
  return trx
    .insertInto('attempts')
    .values(rows)
    .onConflict((conflict) => conflict.column('key').doUpdateSet(({ ref }) => ({ count: ref('attempts.count') })))
    .returningAll()
    .execute()
}

async function write(trx: Transaction<Schema>, decided: readonly (readonly [string, Attempts | null])[]): Promise<void> {
  const gone = decided.flatMap(([key, attempts]) => (attempts === null ? [key] : []))
  const rows = decided.flatMap(([key, attempts]) =>
    attempts === null ? [] : [{ key, count: attempts.count, blocked_until: attempts.blockedUntil, expires_at: attempts.expiresAt }],
  )
  if (gone.length > 0) await trx.deleteFrom('attempts').where('key', 'in', gone).execute()
  if (rows.length === 0) return
  await trx
    .insertInto('attempts')
    .values(rows)
    .onConflict((conflict) =>
      conflict.column('key').doUpdateSet(({ ref }) => ({
        count: ref('excluded.count'),
        blocked_until: ref('excluded.blocked_until'),
        expires_at: ref('excluded.expires_at'),
      })),
    )
    .execute()
}
