import { setImmediate as turn } from 'node:timers/promises'
import type { Transaction } from 'kysely'
import type { AuditRow, Schema, UserRow } from '../schema.ts'

const PAGE = 200
/** What the log holds of a user beside ids, roles and instants. */
const PERSONAL = new Set(['username', 'name', 'email', 'attributes'])
/** What names nobody, though a user may be called the same. */
const NAMELESS = new Set(['roles', 'provider', 'issuer', 'reason', 'path'])

type Entry = Pick<AuditRow, 'id' | 'actor_id' | 'subject_id' | 'address' | 'detail'>

/** Removes from the log what names a user who is gone: their ips, and names and addresses in what entries tell. Ids stay. */
export async function forget(trx: Transaction<Schema>, user: UserRow): Promise<void> {
  const { id } = user
  const own = new Set([user.username, user.username_key, user.name, user.email].filter((text) => text !== null))
  for (const column of ['subject_id', 'actor_id'] as const) {
    for (let after = ''; ; await turn()) {
      const entries = await entriesOf(trx, { column, id, after })
      // Those that are about the user too came with the first column.
      const others = column === 'subject_id' ? entries : entries.filter((entry) => entry.subject_id !== id)
      await forgetIn(trx, others, { id, own })
      if (entries.length < PAGE) break
      after = entries.at(-1)?.id ?? ''
    }
  }
}

function entriesOf(trx: Transaction<Schema>, { column, id, after }: { column: 'actor_id' | 'subject_id'; id: string; after: string }) {
  return trx
    .selectFrom('audit')
    .select(['id', 'actor_id', 'subject_id', 'address', 'detail'])
    .where(column, '=', id)
    .where('id', '>', after)
    .orderBy('id')
    .limit(PAGE)
    .execute() as Promise<Entry[]>
}

async function forgetIn(trx: Transaction<Schema>, entries: readonly Entry[], user: { id: string; own: ReadonlySet<string> }) {
  // The ip is that of whoever acted.
  const placed = entries.filter((entry) => entry.address !== null && (entry.actor_id ?? entry.subject_id) === user.id).map(({ id }) => id)
  if (placed.length > 0) await trx.updateTable('audit').set({ address: null }).where('id', 'in', placed).execute()
  for (const entry of entries) {
    // What they did to others tells of those.
    const isAbout = (key: string, value: unknown) => (entry.subject_id === user.id && PERSONAL.has(key)) || user.own.has(value as string)
    const detail = JSON.stringify(without(JSON.parse(entry.detail), isAbout))
    if (detail !== entry.detail) await trx.updateTable('audit').set({ detail }).where('id', '=', entry.id).execute()
  }
}

function without(value: unknown, isAbout: (key: string, value: unknown) => boolean): unknown {
  if (Array.isArray(value)) return value.filter((item) => !isAbout('', item)).map((item) => without(item, isAbout))
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(([key, item]) => NAMELESS.has(key) || !isAbout(key, item))
  return Object.fromEntries(kept.map(([key, item]) => [key, NAMELESS.has(key) ? item : without(item, isAbout)]))
}
