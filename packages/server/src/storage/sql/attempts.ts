import type { AttemptStore } from '../storage.ts'
import type { SqlEngine } from './engine.ts'

export function createAttemptStore({ query, transaction }: SqlEngine): AttemptStore {
  return {
    change: (keys, decide) =>
      transaction(async (trx) => {
        const rows = await trx.selectFrom('attempts').selectAll().where('key', 'in', keys).execute()
        const current = rows.map(
          (row) => [row.key, { count: row.count, blockedUntil: row.blocked_until, expiresAt: row.expires_at }] as const,
        )
        for (const [key, attempts] of decide(new Map(current))) {
          if (attempts === null) {
            await trx.deleteFrom('attempts').where('key', '=', key).execute()
            continue
          }
          const row = { count: attempts.count, blocked_until: attempts.blockedUntil, expires_at: attempts.expiresAt }
          await trx
            .insertInto('attempts')
            .values({ key, ...row })
            .onConflict((conflict) => conflict.column('key').doUpdateSet(row))
            .execute()
        }
      }),
    purge: (expiredBefore, limit) =>
      query(async (db) => {
        const due = db.selectFrom('attempts').select('key').where('expires_at', '<', expiredBefore).orderBy('expires_at').limit(limit)
        return Number((await db.deleteFrom('attempts').where('key', 'in', due).executeTakeFirst()).numDeletedRows)
      }),
  }
}
