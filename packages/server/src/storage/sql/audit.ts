import { setImmediate as turn } from 'node:timers/promises'
import { type Kysely, sql } from 'kysely'
import { firstId } from '../../tokens.ts'
import type { AuditRow, Schema } from '../schema.ts'
import type { AuditPage, AuditRecord, AuditStore } from '../storage.ts'
import type { SqlEngine } from './engine.ts'

/** Ids are in the order of time, so what is asked by time is asked by id, which indexes serve. */
export function createAuditStore({ query, transaction }: SqlEngine): AuditStore {
  return {
    append: (entry) => transaction((trx) => note(trx, entry), { lockFirst: true }),
    list: (page) => query(async (db) => (await (page.userId === null ? newest(db, page) : newestOf(db, page, page.userId))).map(toRecord)),
    async count(type, from, ms) {
      const counts = new Map<number, number>()
      // A statement for each span: all in one would sort every entry to group them.
      for (let start = from; ; await turn()) {
        const at = await query((db) => nextAt(db, type, start))
        if (at === null) return counts
        const span = Math.floor((at - from) / ms)
        start = from + (span + 1) * ms
        counts.set(span, await query((db) => countBetween(db, type, [from + span * ms, start])))
      }
    },
    purge: (before, limit) =>
      transaction(
        async (trx) => {
          const due = trx.selectFrom('audit').select('id').where('id', '<', firstId(before)).orderBy('id').limit(limit)
          return Number((await trx.deleteFrom('audit').where('id', 'in', due).executeTakeFirst()).numDeletedRows)
        },
        { lockFirst: true, mayBeLost: true, writesBack: true },
      ),
  }
}

function newest(db: Kysely<Schema>, { type, limit, before }: AuditPage) {
  return db
    .selectFrom('audit')
    .selectAll()
    .$if(type !== null, (select) => select.where('type', '=', type ?? ''))
    .$if(before !== null, (select) => select.where('id', '<', before ?? ''))
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
}

/** As actor and as subject apart, each in the order of its index: no engine reads both at once without sorting all. */
async function newestOf(db: Kysely<Schema>, { type, limit, before }: AuditPage, userId: string): Promise<AuditRow[]> {
  const found = new Map<string, AuditRow>()
  for (const column of ['actor_id', 'subject_id'] as const) {
    const rows = await db
      .selectFrom('audit')
      .selectAll()
      .where(column, '=', userId)
      // An expression, so that the index of types, which is not in the order of one user's entries, is left alone.
      .$if(type !== null, (select) => select.where(sql<boolean>`type || '' = ${type}`))
      .$if(before !== null, (select) => select.where('id', '<', before ?? ''))
      .orderBy('id', 'desc')
      .limit(limit)
      .execute()
    for (const row of rows) found.set(row.id, row)
  }
  return [...found.values()].toSorted((a, b) => (a.id < b.id ? 1 : -1)).slice(0, limit)
}

async function nextAt(db: Kysely<Schema>, type: string, from: number): Promise<number | null> {
  const entries = db.selectFrom('audit').select('at').where('type', '=', type)
  return (await entries.where('id', '>=', firstId(from)).orderBy('id').limit(1).executeTakeFirst())?.at ?? null
}

async function countBetween(db: Kysely<Schema>, type: string, [from, until]: [number, number]): Promise<number> {
  const { entries } = await db
    .selectFrom('audit')
    .select((eb) => eb.fn.countAll<number>().as('entries'))
    .where('type', '=', type)
    .where('id', '>=', firstId(from))
    .where('id', '<', firstId(until))
    .executeTakeFirstOrThrow()
  return entries
}

function toRecord(row: AuditRow): AuditRecord {
  return {
    id: row.id,
    at: row.at,
    type: row.type,
    actorId: row.actor_id,
    subjectId: row.subject_id,
    address: row.address,
    detail: JSON.parse(row.detail) as Record<string, unknown>,
  }
}

export async function note(db: Kysely<Schema>, entry: AuditRecord | undefined): Promise<void> {
  if (entry === undefined) return
  const { id, at, type, actorId, subjectId, address, detail } = entry
  const row = { id, at, type, actor_id: actorId, subject_id: subjectId, address, detail: JSON.stringify(detail) }
  await db.insertInto('audit').values(row).execute()
}
