import { sql } from 'kysely'
import { BUCKETS } from '../../buckets.ts'
import type { Raise } from '../sql/announcements.ts'
import type { Changes } from '../storage.ts'
import type { Connection } from './connections.ts'

/** Each by one, in ascending order, so that two that raise several do not wait in a circle; a row that somebody removed comes back. */
export const raise: Raise = async (db, moved, ended) => {
  await sql`
    insert into changes (bucket, n, ended)
    select bucket, 1, case when bucket = any(${ended}::bigint[]) then 1 else 0 end from unnest(${moved}::bigint[]) as due (bucket) order by bucket
    on conflict (bucket) do update set n = changes.n + 1, ended = changes.ended + excluded.ended`.execute(db)
}

/** Reads what was announced; while nothing was, that is one number. */
export async function readChanges({ prepared }: Connection, known: Changes | null): Promise<Changes> {
  const [sum] = await prepared<{ n: number }>('trpc_login_changes_sum', 'select cast(coalesce(sum(n), 0) as bigint) as n from changes', [])
  if (known !== null && known.version === sum?.n) return known
  const rows = await prepared<{ bucket: number; n: number }>('trpc_login_changes', 'select bucket, n from changes', [])
  const counts = Array.from({ length: BUCKETS }, () => 0)
  for (const { bucket, n } of rows) counts[bucket] = n
  return { version: counts.reduce((total, n) => total + n, 0), counts }
}
