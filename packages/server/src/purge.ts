import { setTimeout as sleep } from 'node:timers/promises'
import type { Log } from './log.ts'

const EVERY_MS = 10 * 60_000
const BATCH = 25
// Others come first.
const PAUSE_MS = 10

/** Removes what is past its time. */
export interface Purge {
  /** Every ten minutes at most, and nobody waits for it. */
  sometimes(at: number): void
  /** Now; answers how many were removed. */
  now(at: number): Promise<number>
}

/** Purges in batches that never hold the database for long; `remove` takes the instant and how many it may remove, and says how many it did. */
export function createPurge(deps: { remove: (at: number, limit: number) => Promise<number>; log: Log; failure: string }): Purge {
  const { remove, log, failure } = deps
  let doneAt = Number.NEGATIVE_INFINITY

  async function run(at: number, keepsProcess: boolean): Promise<number> {
    let removed = 0
    for (;;) {
      const count = await remove(at, BATCH)
      removed += count
      if (count < BATCH) return removed
      await sleep(PAUSE_MS, undefined, { ref: keepsProcess })
    }
  }

  return {
    now: (at) => run(at, true),
    sometimes(at) {
      if (at - doneAt < EVERY_MS) return
      doneAt = at
      run(at, false).catch((error: unknown) => log.error({ error: String(error) }, failure))
    },
  }
}
