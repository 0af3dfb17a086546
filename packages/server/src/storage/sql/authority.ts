import type { Transaction } from 'kysely'
import type { Schema } from '../schema.ts'
import type { AuditWrite, Authority } from '../storage.ts'
import type { Announce } from './announcements.ts'
import type { SqlEngine, TransactionOptions } from './engine.ts'

/** Runs an act's transaction, unless the authority that its entry names no longer holds. */
export type Acting = <T>(
  entry: AuditWrite | undefined,
  concerned: readonly string[],
  run: (trx: Transaction<Schema>, announce: Announce) => Promise<T>,
  options?: TransactionOptions,
) => Promise<T | 'refused'>

/**
 * Judges in the act's own transaction, and first of all: it locks the rows of the actor and of those concerned, always in
 * the same order, so that of two who act on each other one comes first and the other is judged by what that one has done.
 */
export function createActing({ transaction, locksRows = false }: Pick<SqlEngine, 'transaction' | 'locksRows'>): Acting {
  return (entry, concerned, run, options) =>
    transaction(async (trx, announce) => {
      const authority = entry?.authority
      if (authority !== undefined && !(await holds(trx, authority, { concerned, locksRows }))) return 'refused'
      return run(trx, announce)
    }, options)
}

async function holds(
  trx: Transaction<Schema>,
  { userId, sessionId, role, provedAfter, now }: Authority,
  { concerned, locksRows }: { concerned: readonly string[]; locksRows: boolean },
): Promise<boolean> {
  const users = await trx
    .selectFrom('users')
    .select(['id', 'epoch', 'roles', 'disabled_at'])
    .where('id', 'in', [userId, ...concerned])
    .orderBy('id')
    .$if(locksRows, (select) => select.forNoKeyUpdate())
    .execute()
  const actor = users.find(({ id }) => id === userId)
  if (actor === undefined || actor.disabled_at !== null) return false
  if (role !== null && !(JSON.parse(actor.roles) as string[]).includes(role)) return false
  const session = await trx
    .selectFrom('sessions')
    .select('id')
    .where('id', '=', sessionId)
    .where('user_id', '=', userId)
    .where('user_epoch', '=', actor.epoch)
    .where('ended_at', 'is', null)
    .where('expires_at', '>', now)
    .$if(provedAfter !== null, (select) => select.where('authenticated_at', '>', provedAfter ?? 0))
    .$if(locksRows, (select) => select.forShare())
    .executeTakeFirst()
  return session !== undefined
}
