import { addressBucket } from './address.ts'
import {
  atOnceAfter,
  begun,
  type Change,
  type Counters,
  counted,
  countIn,
  ended,
  failedOnceMore,
  failuresOf,
  fullUntil,
  givenBack,
  underWay,
  underWayKey,
  type Window,
} from './attempts.ts'
import { AuthError } from './errors.ts'
import type { Log } from './log.ts'
import type { LimitOptions } from './options.ts'
import { createPurge } from './purge.ts'
import type { AttemptStore } from './storage/storage.ts'
import { createTurns } from './turns.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
// NIST SP 800-63B-4 section 3.2.2.
const LOCK_AT = 100
// An account's counter must outlast any patience; one of an account that does not exist need not.
const FOREVER = Number.MAX_SAFE_INTEGER
const UNKNOWN_ACCOUNT_MS = 30 * 24 * HOUR_MS
// What all callers without an ip share must hold for many of them.
const SHARED_BY = 20
const MAX_WAITING = 64
const MAX_WAIT_MS = 2000

/** Whose secret is tried, and from where. */
export interface Attempt {
  /** What failures in a row are counted by. */
  readonly account: { readonly key: string; readonly exists: boolean }
  readonly address: string | null
}

/** What comes of asking for a place: counters to write, when to come back, or what keeps out that may be over in a moment. */
type Verdict = { readonly changes: readonly Change[] } | { readonly until: number } | { readonly busy: string }

export type Throttle = ReturnType<typeof createThrottle>

export function createThrottle(deps: { store: AttemptStore; now: () => number; limits: LimitOptions; log: Log }) {
  const { store, now, limits, log } = deps
  const purge = createPurge({ remove: store.purge, log, failure: 'attempts_purge_failed' })
  const turns = createTurns({ waiting: MAX_WAITING, waitMs: MAX_WAIT_MS })

  /**
   * Lets a secret be checked while the account and the ip may try. What is under way is counted before the check begins, so that many
   * at once have no more tries than one after the other, and becomes a failure only when it has failed: right ones that come together
   * wait for each other. `locked` says that no secret may pass any more.
   * @throws `rate_limited`
   */
  async function attempt<T>({ account, address }: Attempt, check: (locked: boolean) => Promise<T>): Promise<T> {
    const accountKey = `account:${account.key}`
    // Without an ip the account's limits are all there is: one bucket for everyone would let a stranger keep everyone out.
    const failures = address === null ? [] : [failuresFrom(address)]
    const calls = address === null ? [] : [callsFrom(address)]
    const held = [accountKey, ...failures.map(({ key }) => key)]
    let locked = false
    await reserve([accountKey, ...[...failures, ...calls].map(({ key }) => key), ...held.map(underWayKey)], (current, at) => {
      const known = failuresOf(current, accountKey, at)
      locked = known.count >= LOCK_AT
      // Without end, so without a time to come back at: the answer to give is that of a wrong password.
      const until = Math.max(locked ? 0 : known.blockedUntil, ...[...failures, ...calls].map((window) => fullUntil(current, window, at)))
      if (until > at) return { until }
      if (!locked && underWay(current, accountKey, at) >= atOnceAfter(known.count)) return { busy: accountKey }
      const full = failures.find((window) => countIn(current, window, at) + underWay(current, window.key, at) >= window.limit)
      if (full !== undefined) return { busy: full.key }
      return { changes: [...held.map((key) => begun(current, key, at)), ...calls.map((window) => counted(current, window, at))] }
    })

    async function settle(decide: (current: Counters, at: number) => readonly Change[]): Promise<void> {
      await store.change([...held, ...held.map(underWayKey)], (current) => {
        const at = now()
        return new Map([...held.map((key) => ended(current, key, at)), ...decide(current, at)])
      })
      for (const key of held) turns.wake(key)
    }

    try {
      const result = await check(locked)
      await settle(() => [[accountKey, null]])
      return result
    } catch (error) {
      const reason = error instanceof AuthError ? error.reason : null
      if (reason === 'invalid_credentials') {
        await settle((current, at) => [
          failedOnceMore(current, accountKey, { at, expiresAt: account.exists ? FOREVER : at + UNKNOWN_ACCOUNT_MS }),
          ...failures.map((window) => counted(current, window, at)),
        ])
      } else {
        // Nothing was learned about the secret, so nobody is to pay for it.
        const settled = settle(() => [])
        // The caller of a store that does not answer has waited once already.
        if (reason === 'unavailable') settled.catch((cause: unknown) => log.error({ error: String(cause) }, 'attempt_not_given_back'))
        else await settled
      }
      throw error
    }
  }

  /**
   * Lets an ip make a few accounts an hour. What fails is not counted, but for names that are taken: they tell who is here.
   * @throws `rate_limited`
   */
  async function signUp<T>(address: string | null, make: () => Promise<T>): Promise<T> {
    const made = windowOf('sign-ups', address, { limit: limits.signUpsPerAddress, ms: HOUR_MS })
    const windows = [made, callsFrom(address)]
    await reserveIn(windows)
    return make().catch(async (error: unknown) => {
      if (!(error instanceof AuthError && error.reason === 'conflict')) {
        await store.change([made.key], (current) => new Map(givenBack(current, made.key)))
      }
      throw error
    })
  }

  function reserveIn(windows: readonly Window[]): Promise<void> {
    return reserve(
      windows.map(({ key }) => key),
      (current, at) => {
        const until = Math.max(...windows.map((window) => fullUntil(current, window, at)))
        return until > at ? { until } : { changes: windows.map((window) => counted(current, window, at)) }
      },
    )
  }

  /** Counts in one step, or refuses with the time to come back at; whoever only others keep out that are under way waits for them. */
  async function reserve(keys: readonly string[], decide: (current: Counters, at: number) => Verdict): Promise<void> {
    const since = performance.now()
    let keptOutBy: string | null = null
    for (let asked = 0; ; asked += 1) {
      const at = now()
      const verdict = await ask(keys, (current) => decide(current, at))
      if ('busy' in verdict) {
        keptOutBy = verdict.busy
        if (await turns.next(keptOutBy, { since, asked })) continue
      }
      // There may be room for one more who waits, or none for anybody.
      if (keptOutBy !== null) turns.wake(keptOutBy)
      if ('changes' in verdict) return purge.sometimes(at)
      const retryAfter = 'until' in verdict ? secondsUntil(verdict.until, at) : 1
      log.warn({ retryAfter }, 'excess_rate_limit_exceeded')
      throw new AuthError('rate_limited', { retryAfter })
    }
  }

  async function ask(keys: readonly string[], decide: (current: Counters) => Verdict): Promise<Verdict> {
    const decided: Verdict[] = []
    await store.change(keys, (current) => {
      const verdict = decide(current)
      decided.push(verdict)
      return new Map('changes' in verdict ? verdict.changes : [])
    })
    // It may decide more than once, and the last is what was written.
    return decided.at(-1) as Verdict
  }

  function failuresFrom(address: string): Window {
    return windowOf('failures', address, { limit: limits.failuresPerAddress, ms: 15 * MINUTE_MS })
  }

  function callsFrom(address: string | null): Window {
    return windowOf('calls', address, { limit: limits.callsPerAddress, ms: MINUTE_MS })
  }

  return {
    attempt,
    signUp,
    /** Counts a call that is open to all and costs much. @throws `rate_limited` */
    call: (address: string | null) => reserveIn([callsFrom(address)]),
    /** Forgets an account's failures, as after its password was reset. */
    clear: (accountKey: string) => store.change([`account:${accountKey}`], () => new Map([[`account:${accountKey}`, null]])),
  }
}

/** What one ip may do; those without one share a bucket that holds more. */
function windowOf(what: string, address: string | null, { limit, ms }: Omit<Window, 'key'>): Window {
  return { key: `${what}:${addressBucket(address)}`, limit: address === null ? limit * SHARED_BY : limit, ms }
}

function secondsUntil(until: number, at: number): number {
  return Math.max(1, Math.ceil((until - at) / 1000))
}
