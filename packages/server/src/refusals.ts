import type { Act, Audit } from './audit.ts'
import type { AuthError } from './errors.ts'
import type { Log } from './log.ts'

const LINE_MS = 60_000
const ENTRY_MS = 15 * 60_000
const MAX_KNOWN = 1000

/** What somebody who is signed in was refused, and for which procedure. */
export interface Refused {
  readonly by: Act & { readonly actorId: string }
  readonly path: string
  readonly error: AuthError
}

export interface Refusals {
  note(refused: Refused): void
}

interface Known {
  lineAt: number
  entryAt: number
  /** Refused since the last line. */
  more: number
}

/**
 * Leaves a trace of who is refused (ASVS 16.3.2) that no flood makes long: of one user and reason a line in the log each minute, which
 * says how many more there were, and an entry of the audit log each quarter of an hour.
 */
export function createRefusals(deps: { audit: Audit; now: () => number; log: Log }): Refusals {
  const { audit, now, log } = deps
  const known = new Map<string, Known>()

  function find(key: string): Known {
    const found = known.get(key) ?? { lineAt: Number.NEGATIVE_INFINITY, entryAt: Number.NEGATIVE_INFINITY, more: 0 }
    // Whoever was refused last is forgotten last.
    known.delete(key)
    known.set(key, found)
    const [oldest] = known.keys()
    if (known.size > MAX_KNOWN && oldest !== undefined) known.delete(oldest)
    return found
  }

  return {
    note({ by, path, error: { reason } }) {
      const at = now()
      const found = find(`${by.actorId} ${reason}`)
      if (Math.abs(at - found.lineAt) < LINE_MS) {
        found.more += 1
        return
      }
      log.warn({ userId: by.actorId, reason, path, ...(found.more === 0 ? {} : { more: found.more }) }, 'authz_fail')
      Object.assign(found, { lineAt: at, more: 0 })
      if (Math.abs(at - found.entryAt) < ENTRY_MS) return
      found.entryAt = at
      // Nobody waits for it, and a refusal stays one where it cannot be written.
      audit.append('authz_fail', by, by.actorId, { reason, path }).catch((cause: unknown) => {
        log.error({ error: String(cause) }, 'refusal_not_recorded')
      })
    },
  }
}
