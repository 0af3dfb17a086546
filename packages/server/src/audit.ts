import { decodeCursor, encodeCursor } from './cursors.ts'
import type { Log } from './log.ts'
import { createPurge } from './purge.ts'
import type { AuditRecord, AuditStore, AuditWrite, Authority } from './storage/storage.ts'
import { newId } from './tokens.ts'

const DAY_MS = 24 * 60 * 60_000
const KEPT_MS = 365 * DAY_MS

/** Who does something, and from where. */
export interface Act {
  /** `null` for the command line and for who is not signed in. */
  readonly actorId: string | null
  readonly address: string | null
  /** With which session, and what a guard has asked of it: it must still hold when the act is written. */
  readonly session?: { readonly id: string; readonly role: string | null; readonly maxAgeMs: number | null }
}

/** What is done by the program itself or on its command line. */
export const SYSTEM: Act = { actorId: null, address: null }

/** One line of the audit log as administrators see it. */
export interface AuditEntry extends Omit<AuditRecord, 'at'> {
  readonly at: Date
}

export type Audit = ReturnType<typeof createAudit>

export function createAudit(deps: { store: AuditStore; now: () => number; log: Log }) {
  const { store, now, log } = deps
  const purge = createPurge({ remove: (at, limit) => store.purge(at - KEPT_MS, limit), log, failure: 'audit_purge_failed' })

  /** An entry to be written with the change that it tells of; types are named after the OWASP logging vocabulary. */
  function entry(type: string, by: Act, subjectId: string | null, detail: Record<string, unknown> = {}): AuditWrite {
    const at = now()
    purge.sometimes(at)
    const authority = authorityOf(by, at)
    return { id: newId(at), at, type, actorId: by.actorId, subjectId, address: by.address, detail, ...(authority && { authority }) }
  }

  return {
    entry,
    /** For what changes nothing else. */
    append: (...args: Parameters<typeof entry>) => store.append(entry(...args)),
    /** How many entries of a type each of the last days had, oldest first, in days of 24 hours that end now. */
    async perDay(type: string, days: number): Promise<number[]> {
      const counts = await store.count(type, now() - days * DAY_MS + 1, DAY_MS)
      return Array.from({ length: days }, (_, day) => counts.get(day) ?? 0)
    },
    /** Newest first. @throws `invalid_input` for a cursor that this method did not give */
    async list(
      filter: { userId?: string | undefined; type?: string | undefined; limit?: number | undefined; cursor?: string | undefined } = {},
    ) {
      const { userId = null, type = null, limit = 50, cursor } = filter
      const before = cursor === undefined ? null : decodeCursor(cursor, ['id']).id
      const records = await store.list({ userId, type, limit, before })
      const last = records.length < limit ? undefined : records.at(-1)
      return {
        items: records.map(toEntry),
        nextCursor: last === undefined ? null : encodeCursor({ id: last.id }),
      }
    },
  }
}

function authorityOf({ actorId, session }: Act, now: number): Authority | null {
  if (actorId === null || session === undefined) return null
  const { id, role, maxAgeMs } = session
  return { userId: actorId, sessionId: id, role, provedAfter: maxAgeMs === null ? null : now - maxAgeMs, now }
}

function toEntry(record: AuditRecord): AuditEntry {
  return { ...record, at: new Date(record.at) }
}
