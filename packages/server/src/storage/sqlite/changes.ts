import type { DatabaseSync } from 'node:sqlite'
import { sql } from 'kysely'
import { BUCKETS } from '../../buckets.ts'
import type { Raise } from '../sql/announcements.ts'
import type { Changes } from '../storage.ts'

/** To one more than the largest, so that one comparison finds what moved since; a row that somebody removed comes back. */
export const raise: Raise = async (db, moved, ended) => {
  const next = sql`(select coalesce(max(n), 0) + 1 from changes)`
  const rows = moved.map((bucket) => (ended.includes(bucket) ? sql`(${bucket}, ${next}, ${next})` : sql`(${bucket}, ${next}, 0)`))
  await sql`
    insert into changes (bucket, n, ended) values ${sql.join(rows)}
    on conflict (bucket) do update set n = excluded.n, ended = max(ended, excluded.ended)`.execute(db)
}

/** Reads what was announced; while nobody wrote to the file at all, that is one look at its version. */
export function createChangesReader(db: DatabaseSync, { isShared }: { isShared: boolean }): (known: Changes | null) => Changes {
  // In memory there is one connection, whose own writes do not move its version, and no other process.
  const version = db.prepare(isShared ? 'select data_version as version from pragma_data_version' : 'select total_changes() as version')
  const moved = db.prepare('select bucket, n from changes where n > ?')

  return (known) => {
    const now = (version.get() as { version: number }).version
    if (known?.version === now) return known
    const before = known?.counts ?? Array.from({ length: BUCKETS }, () => 0)
    const rows = moved.all(Math.max(...before)) as { bucket: number; n: number }[]
    const counts = [...before]
    for (const { bucket, n } of rows) counts[bucket] = n
    return { version: now, counts }
  }
}
