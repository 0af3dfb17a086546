import type { Transaction } from 'kysely'
import type { Schema } from '../schema.ts'
import type { UserRecord } from '../storage.ts'
import { fromUser } from './rows.ts'

/** `false` when the username, or the verified address, is taken. */
export async function insertUser(trx: Transaction<Schema>, user: UserRecord): Promise<boolean> {
  const result = await trx
    .insertInto('users')
    .values(fromUser(user))
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst()
  return result.numInsertedOrUpdatedRows === 1n
}
