import { setImmediate as turn } from 'node:timers/promises'
import type { Transaction } from 'kysely'
import type { AuditRow, Schema, UserRow } from '../schema.ts'

const PAGE = 200
/** What the log holds of a user beside ids, roles and instants. */
const PERSONAL = new Set(['username', 'name', 'email', 'attributes'])

/** Removes from the log what names a user who is gone: their ips, and names and addresses in what entries tell. Ids stay. */
export async function forget(trx: Transaction<Schema>, user: UserRow): Promise<void> {
  const { id } = user
  await trx.updateTable('audit').set({ address: null }).where('actor_id', '=', id).execute()
  await trx.updateTable('audit').set({ address: null }).where('subject_id', '=', id).where('actor_id', 'is', null).execute()
  const own = new Set([user.username, user.username_key, user.name, user.email].filter((text) => text !== null))
  for (const column of ['subject_id', 'actor_id'] as const) {
    for (let after = ''; ; await turn()) {
      const rows = await entriesOf(trx, { column, id, after })
      for (const row of rows) {
        // What somebody did to others tells of those.
        const isAbout = (key: string, value: unknown) => (row.subject_id === id && PERSONAL.has(key)) || own.has(value as string)
        const detail = JSON.stringify(without(JSON.parse(row.detail), isAbout))
        if (detail !== row.detail) await trx.updateTable('audit').set({ detail }).where('id', '=', row.id).execute()
      }
      if (rows.length < PAGE) break
      after = rows.at(-1)?.id ?? ''
    }
  }
}

function entriesOf(trx: Transaction<Schema>, { column, id, after }: { column: 'actor_id' | 'subject_id'; id: string; after: string }) {
  const entries = trx.selectFrom('audit').select(['id', 'subject_id', 'detail']).where(column, '=', id).where('id', '>', after)
  return entries.orderBy('id').limit(PAGE).execute() as Promise<Pick<AuditRow, 'id' | 'subject_id' | 'detail'>[]>
}

function without(value: unknown, isAbout: (key: string, value: unknown) => boolean): unknown {
  if (Array.isArray(value)) return value.filter((item) => !isAbout('', item)).map((item) => without(item, isAbout))
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([key, item]) => !isAbout(key, item))
  return Object.fromEntries(kept.map(([key, item]) => [key, without(item, isAbout)]))
}
