import { sql } from 'kysely'
import type { Raise } from '../sql/announcements.ts'
import type { Changes } from '../storage.ts'
import type { Connection } from './connections.ts'

/** Each by one. Several are locked in order first: an update takes its rows as it finds them, and two that do so may wait in a circle. */
export const raise: Raise = async (db, moved, ended) => {
  const [only] = moved
  const query =
    moved.length === 1
      ? sql`update changes set n = n + 1, ended = ended + ${ended.length} where bucket = ${only}`
      : sql`
        with due as materialized (select bucket from changes where bucket = any(${moved}) order by bucket for update)
        update changes set n = n + 1, ended = ended + case when changes.bucket = any(${ended}) then 1 else 0 end
        from due where changes.bucket = due.bucket`
  return Number((await query.execute(db)).numAffectedRows)
}

/** Reads what was announced; while nothing was, that is one number. */
export async function readChanges({ prepared }: Connection, known: Changes | null): Promise<Changes> {
  const [sum] = await prepared<{ n: number }>('trpc_login_changes_sum', 'select cast(sum(n) as bigint) as n from changes', [])
  if (known !== null && known.version === sum?.n) return known
  const rows = await prepared<{ n: number }>('trpc_login_changes', 'select n from changes order by bucket', [])
  const counts = rows.map(({ n }) => n)
  return { version: counts.reduce((total, n) => total + n, 0), counts }
}
