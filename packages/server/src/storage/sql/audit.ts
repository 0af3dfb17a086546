import { type Kysely, sql } from 'kysely'
import type { Schema } from '../schema.ts'
import type { AuditRecord, AuditStore } from '../storage.ts'
import type { SqlEngine } from './engine.ts'

export function createAuditStore({ query }: SqlEngine): AuditStore {
  return {
    append: (entry) => query((db) => note(db, entry)),
    list: ({ userId, type, limit, before }) =>
      query(async (db) => {
        const rows = await db
          .selectFrom('audit')
          .selectAll()
          .$if(userId !== null, (select) => select.where((eb) => eb.or([eb('actor_id', '=', userId), eb('subject_id', '=', userId)])))
          .$if(type !== null, (select) => select.where('type', '=', type ?? ''))
          .$if(before !== null, (select) => select.where('id', '<', before ?? ''))
          .orderBy('id', 'desc')
          .limit(limit)
          .execute()
        return rows.map((row) => ({
          id: row.id,
          at: row.at,
          type: row.type,
          actorId: row.actor_id,
          subjectId: row.subject_id,
          address: row.address,
          detail: JSON.parse(row.detail) as Record<string, unknown>,
        }))
      }),
    count: (type, from, ms) =>
      query(async (db) => {
        const rows = await db
          .selectFrom('audit')
          .select([sql<number>`(at - ${from}) / ${ms}`.as('span'), (eb) => eb.fn.countAll<number>().as('entries')])
          .where('type', '=', type)
          .where('at', '>=', from)
          .groupBy('span')
          .execute()
        const counts = new Map<number, number>()
        for (const { span, entries } of rows) {
          const index = Math.floor(span)
          counts.set(index, (counts.get(index) ?? 0) + entries)
        }
        return counts
      }),
    purge: (before, limit) =>
      query(async (db) => {
        const due = db.selectFrom('audit').select('id').where('at', '<', before).orderBy('id').limit(limit)
        return Number((await db.deleteFrom('audit').where('id', 'in', due).executeTakeFirst()).numDeletedRows)
      }),
  }
}

export async function note(db: Kysely<Schema>, entry: AuditRecord | undefined): Promise<void> {
  if (entry === undefined) return
  const { id, at, type, actorId, subjectId, address, detail } = entry
  const row = { id, at, type, actor_id: actorId, subject_id: subjectId, address, detail: JSON.stringify(detail) }
  await db.insertInto('audit').values(row).execute()
}
