import { addressBucket } from './address.ts'
import { AuthError } from './errors.ts'
import type { Log } from './log.ts'
import type { LimitOptions } from './options.ts'
import { createPurge } from './purge.ts'
import type { AttemptStore, Attempts } from './storage/storage.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const FREE_FAILURES = 5
const FIRST_DELAY_MS = 1000
const MAX_DELAY_MS = 15 * MINUTE_MS
// NIST SP 800-63B-4 section 3.2.2.
const LOCK_AT = 100
// An account's counter must outlast any patience; one of an account that does not exist need not.
const FOREVER = Number.MAX_SAFE_INTEGER
const UNKNOWN_ACCOUNT_MS = 30 * 24 * HOUR_MS
const NOTHING: Attempts = { count: 0, blockedUntil: 0, expiresAt: 0 }

/** Whose secret is tried, and from where. */
export interface Attempt {
  /** What failures in a row are counted by. */
  readonly account: { readonly key: string; readonly exists: boolean }
  readonly address: string | null
}

export type Throttle = ReturnType<typeof createThrottle>

interface Window {
  readonly key: string
  readonly limit: number
  readonly ms: number
}

export function createThrottle(deps: { store: AttemptStore; now: () => number; limits: LimitOptions; log: Log }) {
  const { store, now, limits, log } = deps
  const purge = createPurge({ remove: store.purge, log, failure: 'attempts_purge_failed' })

  /**
   * Lets a secret be checked while the account and the address may try: the attempt is counted before the check begins, so that
   * many at once have no more tries than one after the other. `locked` says that no secret may pass any more.
   * @throws `rate_limited`
   */
  async function attempt<T>({ account, address }: Attempt, check: (locked: boolean) => Promise<T>): Promise<T> {
    const accountKey = `account:${account.key}`
    const failures = failuresOf(address)
    const windows = [failures, callsOf(address)]
    let locked = false
    await reserve([accountKey, ...windows.map(({ key }) => key)], (current, at) => {
      const known = alive(current.get(accountKey), at)
      locked = known.count >= LOCK_AT
      // Without end, so without a time to come back at: the answer to give is that of a wrong password.
      const until = Math.max(
        locked ? 0 : credible(known.blockedUntil, at, MAX_DELAY_MS),
        ...windows.map((window) => blockedUntil(current, window, at)),
      )
      if (until > at) return until
      const expiresAt = account.exists ? FOREVER : at + UNKNOWN_ACCOUNT_MS
      return new Map([[accountKey, { ...failedOnceMore(known, at), expiresAt }], ...windows.map((window) => counted(current, window, at))])
    })
    try {
      const result = await check(locked)
      await store.change([accountKey, failures.key], (current) => new Map([[accountKey, null], ...givenBack(current, failures.key)]))
      return result
    } catch (error) {
      if (!(error instanceof AuthError && error.reason === 'invalid_credentials')) {
        // Nothing was learned about the secret, so nobody is to pay for it.
        const given = store.change(
          [accountKey, failures.key],
          (current) => new Map([accountKey, failures.key].flatMap((key) => givenBack(current, key))),
        )
        // The caller of a store that does not answer has waited once already.
        if (error instanceof AuthError && error.reason === 'unavailable')
          given.catch((error: unknown) => log.error({ error: String(error) }, 'attempt_not_given_back'))
        else await given
      }
      throw error
    }
  }

  /** Lets an address make a few accounts an hour; what fails is not counted. @throws `rate_limited` */
  async function signUp<T>(address: string | null, make: () => Promise<T>): Promise<T> {
    const made: Window = { key: `sign-ups:${addressBucket(address)}`, limit: limits.signUpsPerAddress, ms: HOUR_MS }
    const windows = [made, callsOf(address)]
    await reserve(
      windows.map(({ key }) => key),
      (current, at) => {
        const until = Math.max(...windows.map((window) => blockedUntil(current, window, at)))
        return until > at ? until : new Map(windows.map((window) => counted(current, window, at)))
      },
    )
    return make().catch(async (error: unknown) => {
      await store.change([made.key], (current) => new Map(givenBack(current, made.key)))
      throw error
    })
  }

  /** Counts a call that is open to all and costs much. @throws `rate_limited` */
  async function call(address: string | null): Promise<void> {
    const calls = callsOf(address)
    await reserve([calls.key], (current, at) => {
      const until = blockedUntil(current, calls, at)
      return until > at ? until : new Map([counted(current, calls, at)])
    })
  }

  /** Counts in one step, or refuses with the time to come back at. */
  async function reserve(
    keys: readonly string[],
    decide: (current: ReadonlyMap<string, Attempts>, at: number) => number | ReadonlyMap<string, Attempts>,
  ): Promise<void> {
    const at = now()
    purge.sometimes(at)
    let until = 0
    await store.change(keys, (current) => {
      const decided = decide(current, at)
      until = typeof decided === 'number' ? decided : 0
      return typeof decided === 'number' ? new Map() : decided
    })
    if (until === 0) return
    log.warn({ retryAfter: secondsUntil(until, at) }, 'excess_rate_limit_exceeded')
    throw new AuthError('rate_limited', { retryAfter: secondsUntil(until, at) })
  }

  function failuresOf(address: string | null): Window {
    return { key: `failures:${addressBucket(address)}`, limit: limits.failuresPerAddress, ms: 15 * MINUTE_MS }
  }

  function callsOf(address: string | null): Window {
    return { key: `calls:${addressBucket(address)}`, limit: limits.callsPerAddress, ms: MINUTE_MS }
  }

  return {
    attempt,
    signUp,
    call,
    /** Forgets an account's failures, as after its password was reset. */
    clear: (accountKey: string) => store.change([`account:${accountKey}`], () => new Map([[`account:${accountKey}`, null]])),
  }
}

function alive(attempts: Attempts | undefined, at: number): Attempts {
  return attempts === undefined || attempts.expiresAt <= at ? NOTHING : attempts
}

/** From the sixth failure on each makes the next wait twice as long. */
function failedOnceMore({ count, blockedUntil }: Attempts, at: number): Omit<Attempts, 'expiresAt'> {
  const delay = count < FREE_FAILURES ? 0 : Math.min(FIRST_DELAY_MS * 2 ** (count - FREE_FAILURES), MAX_DELAY_MS)
  return { count: count + 1, blockedUntil: delay === 0 ? blockedUntil : at + delay }
}

/** An end that lies further ahead than any is ever set was set by a clock that has been set back since: it is over. */
function credible(until: number, at: number, longestMs: number): number {
  return until - at > longestMs ? 0 : until
}

function inWindow(current: ReadonlyMap<string, Attempts>, { key, ms }: Window, at: number): Attempts {
  const known = current.get(key)
  return known === undefined || credible(known.expiresAt, at, ms) <= at ? NOTHING : known
}

function blockedUntil(current: ReadonlyMap<string, Attempts>, window: Window, at: number): number {
  const { limit } = window
  const known = inWindow(current, window, at)
  return known.count >= limit ? known.expiresAt : 0
}

function counted(current: ReadonlyMap<string, Attempts>, window: Window, at: number): readonly [string, Attempts] {
  const { key, ms } = window
  const known = inWindow(current, window, at)
  return [key, { count: known.count + 1, blockedUntil: 0, expiresAt: known.count === 0 ? at + ms : known.expiresAt }]
}

function givenBack(current: ReadonlyMap<string, Attempts>, key: string): (readonly [string, Attempts])[] {
  const known = current.get(key)
  return known === undefined ? [] : [[key, { ...known, count: Math.max(0, known.count - 1) }]]
}

function secondsUntil(until: number, at: number): number {
  return Math.max(1, Math.ceil((until - at) / 1000))
}
