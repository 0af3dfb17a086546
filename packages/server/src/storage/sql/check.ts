import { type Kysely, sql } from 'kysely'
import type { Schema } from '../schema.ts'

/** Every table that is written, with a column of it. */
const WRITTEN = {
  users: 'id',
  sessions: 'id',
  attempts: 'key',
  resets: 'token_hash',
  audit: 'id',
  identities: 'id',
  oauth_transactions: 'state_hash',
  changes: 'bucket',
} as const satisfies Partial<Record<keyof Schema, string>>

/** Does to no row all that is done to rows: what is missing, or may not be, fails with the engine's own word for it. */
export async function checkTables(db: Kysely<Schema>): Promise<void> {
  for (const [table, column] of Object.entries(WRITTEN)) {
    const [name, field] = [sql.table(table), sql.ref(column)]
    await sql`insert into ${name} select * from ${name} where 1 = 0`.execute(db)
    await sql`update ${name} set ${field} = ${field} where 1 = 0`.execute(db)
    await sql`delete from ${name} where 1 = 0`.execute(db)
  }
}
