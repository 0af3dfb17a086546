import { setTimeout as sleep } from 'node:timers/promises'
import { AuthError } from '../../errors.ts'
import { announcing } from '../sql/announcements.ts'
import type { FoundRow, SqlEngine } from '../sql/engine.ts'
import { sessionAndUserQuery } from '../sql/sessions.ts'
import { raise } from './changes.ts'
import { ANSWER_MS, type Connection, type Connections, LateError, NoConnectionError } from './connections.ts'
import { codeOf } from './migrate.ts'

const MAX_TRIES = 30
// A log of a million entries is gone through in it.
const LONG_MS = 60_000
const MAX_PAUSE_MS = 60
// Connections that were lost while nobody used them are found one by one.
const MAX_LOST = 10
/**
 * Nothing was done, and done again it may come to something else: two that read what the other writes, two that wait for each
 * other or waited too long for a lock, a unique value or an owner that came or went meanwhile.
 */
const COLLIDED = new Set(['40001', '40P01', '55P03', '23505', '23503'])
const OWNED = '23503'
/** No connection was left for a moment. */
const FULL = '53300'
const SCHEMA_BEHIND = new Set(['42P01', '42703'])

export function createEngine(connections: Connections): SqlEngine {
  // Put together once: that takes longer than sending it.
  let text: string | undefined

  return {
    locksRows: true,
    query: (run) => guarded(() => repeated(connections, ({ db }) => run(db))),
    transaction: (run, { lockFirst = false, mayBeReferenced = false, mayTakeLong = false } = {}) =>
      guarded(() =>
        repeated(
          connections,
          ({ db }) =>
            db
              .transaction()
              .setIsolationLevel(lockFirst ? 'read committed' : 'serializable')
              .execute((trx) => announcing(trx, raise, run)),
          { writes: true, mayBeReferenced, limitMs: mayTakeLong ? LONG_MS : ANSWER_MS },
        ),
      ),
    findSession: (tokenHash) =>
      guarded(() =>
        repeated(connections, async (connection) => {
          text ??= sessionAndUserQuery(connection.db, tokenHash).compile().sql
          const [row] = await connection.prepared<FoundRow>('trpc_login_session', text, [tokenHash])
          return row ?? null
        }),
      ),
  }
}

/** Once more where nothing was done: after a collision, where no connection was left, and after one was lost before the end was asked for. */
async function repeated<T>(
  connections: Connections,
  act: (connection: Connection) => Promise<T>,
  { writes = false, mayBeReferenced = false, limitMs = ANSWER_MS } = {},
): Promise<T> {
  const deadline = performance.now() + limitMs
  for (let tries = 1; ; tries += 1) {
    let wasLost = false
    try {
      return await connections.use(
        deadline,
        async (connection) => {
          try {
            return await act(connection)
          } catch (error) {
            const lost = connection.lost()
            wasLost = lost !== null && !(lost instanceof LateError) && !connection.isCommitting()
            throw error
          }
        },
        { writes },
      )
    } catch (error) {
      const { cause } = error as Error
      const code = codeOf(error instanceof NoConnectionError ? cause : error)
      const collided = code === FULL || (COLLIDED.has(code) && !(mayBeReferenced && code === OWNED))
      const mayRepeat = collided ? tries < MAX_TRIES : (wasLost || error instanceof NoConnectionError) && tries < MAX_LOST
      const pause = Math.random() * Math.min(MAX_PAUSE_MS, 4 * 2 ** tries)
      if (!mayRepeat || performance.now() + pause >= deadline) throw error instanceof NoConnectionError ? cause : error
      await sleep(pause)
    }
  }
}

export async function guarded<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    const cause = SCHEMA_BEHIND.has(codeOf(error))
      ? new Error('the schema is missing or behind; run: trpc-login migrate', { cause: error })
      : error
    throw new AuthError('unavailable', { cause })
  }
}
