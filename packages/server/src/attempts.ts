import type { Attempts } from './storage/storage.ts'

const MINUTE_MS = 60_000
const FREE_FAILURES = 5
const FIRST_DELAY_MS = 1000
const MAX_DELAY_MS = 15 * MINUTE_MS
// Clocks of servers differ by a little.
const CLOCK_SKEW_MS = 60_000
// Longer than a check may take, with all that it waits for; what a process left behind that died holds for as long.
const UNDER_WAY_MS = 30_000
const NOTHING: Attempts = { count: 0, blockedUntil: 0, expiresAt: 0 }

/** Counters as the store has them. */
export type Counters = ReadonlyMap<string, Attempts>
/** One counter to write, or with `null` to remove. */
export type Change = readonly [key: string, attempts: Attempts | null]

/** So many in so long a time, from the first on. */
export interface Window {
  readonly key: string
  readonly limit: number
  readonly ms: number
}

/** Failures in a row under one key, as far as they count. */
export function failuresOf(current: Counters, key: string, at: number): Attempts {
  const known = current.get(key)
  return known === undefined || known.expiresAt <= at ? NOTHING : { ...known, blockedUntil: credible(known.blockedUntil, at, MAX_DELAY_MS) }
}

/** From the sixth failure on each makes the next wait twice as long. */
export function failedOnceMore(current: Counters, key: string, { at, expiresAt }: { at: number; expiresAt: number }): Change {
  const { count, blockedUntil } = failuresOf(current, key, at)
  const delay = count < FREE_FAILURES ? 0 : Math.min(FIRST_DELAY_MS * 2 ** (count - FREE_FAILURES), MAX_DELAY_MS)
  return [key, { count: count + 1, blockedUntil: delay === 0 ? blockedUntil : at + delay, expiresAt }]
}

/** How many may be under way at once after so many failures: if all fail, none of them should have had to wait. */
export function atOnceAfter(failures: number): number {
  return Math.max(1, FREE_FAILURES + 1 - failures)
}

export function countIn(current: Counters, { key, ms }: Window, at: number): number {
  return inWindow(current, { key, ms }, at).count
}

/** When a window lets in again, or 0 where it does now. */
export function fullUntil(current: Counters, window: Window, at: number): number {
  const { count, expiresAt } = inWindow(current, window, at)
  return count >= window.limit ? expiresAt : 0
}

export function counted(current: Counters, window: Window, at: number): Change {
  const { count, expiresAt } = inWindow(current, window, at)
  return [window.key, { count: count + 1, blockedUntil: 0, expiresAt: count === 0 ? at + window.ms : expiresAt }]
}

export function givenBack(current: Counters, key: string): Change[] {
  const known = current.get(key)
  return known === undefined ? [] : [[key, { ...known, count: Math.max(0, known.count - 1) }]]
}

/** The counter of what is under way and may yet turn out a failure. */
export function underWayKey(key: string): string {
  return `under-way:${key}`
}

export function underWay(current: Counters, key: string, at: number): number {
  return inWindow(current, { key: underWayKey(key), ms: UNDER_WAY_MS }, at).count
}

export function begun(current: Counters, key: string, at: number): Change {
  return [underWayKey(key), { count: underWay(current, key, at) + 1, blockedUntil: 0, expiresAt: at + UNDER_WAY_MS }]
}

export function ended(current: Counters, key: string, at: number): Change {
  const left = underWay(current, key, at) - 1
  return [underWayKey(key), left <= 0 ? null : { count: left, blockedUntil: 0, expiresAt: at + UNDER_WAY_MS }]
}

function inWindow(current: Counters, { key, ms }: Pick<Window, 'key' | 'ms'>, at: number): Attempts {
  const known = current.get(key)
  return known === undefined || credible(known.expiresAt, at, ms) <= at ? NOTHING : known
}

/** An end that lies further ahead than any is ever set was set by a clock that has been set back since: it is over. */
function credible(until: number, at: number, longestMs: number): number {
  return until - at > longestMs + CLOCK_SKEW_MS ? 0 : until
}
