import { endable } from './endable.ts'
import { AuthError } from './errors.ts'
import type { Identities } from './identities.ts'
import type { Log } from './log.ts'
import type { Live, Sessions } from './sessions.ts'
import type { SessionStore } from './storage/storage.ts'
import { toUser } from './users.ts'

const TICK_MS = 250
// A store that cannot be asked for this long ends the streams, as it would refuse the requests.
const MAX_FAILURES = 3

/** What happened to a user's account or to another of their sessions. */
export interface AccountEvent {
  readonly type: 'signed_in' | 'session_revoked' | 'session_ended' | 'account_changed'
  readonly at: Date
}

interface Follower {
  /** The session or its user may have changed; it is still live. */
  changed(live: Live): void
  ended(error: AuthError): void
}

/** Says why a stream may not go on, or `null`. */
export type Refusal = (live: Live) => AuthError | null

export type LiveSessions = ReturnType<typeof createLiveSessions>

/** Watches the sessions behind open streams: one question to the store each tick, however many there are. */
export function createLiveSessions(deps: {
  store: SessionStore
  identities: Pick<Identities, 'list'>
  changes: () => Promise<number>
  sessions: Pick<Sessions, 'isLive' | 'noteEnd' | 'list'>
  now: () => number
  log: Log
}) {
  const { store, identities, sessions, now, log } = deps
  const followers = new Map<Follower, Live>()
  let timer: NodeJS.Timeout | undefined
  let known: number | null = null
  let asking = false
  let failures = 0

  /** Tells a follower of changes until it is told to stop or the session ends. */
  function follow(live: Live, follower: Follower): () => void {
    followers.set(follower, live)
    // What happened between the look-up and now was announced before anybody listened.
    known = null
    timer ??= setInterval(() => void tick(), TICK_MS).unref()
    return () => forget(follower)
  }

  function forget(follower: Follower): void {
    followers.delete(follower)
    if (followers.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  async function tick(): Promise<void> {
    if (asking) return
    asking = true
    try {
      const version = await deps.changes()
      const isDue = version !== known || [...followers.values()].some((live) => !sessions.isLive(live))
      if (isDue) await compare()
      known = version
      failures = 0
    } catch (error) {
      known = null
      failures += 1
      if (failures >= MAX_FAILURES) endAll(error)
    } finally {
      asking = false
    }
  }

  async function compare(): Promise<void> {
    const asked = [...followers]
    const ids = new Set(asked.map(([, { session }]) => session.id))
    const found = new Map((await store.findByIds([...ids])).map((live) => [live.session.id, live]))
    for (const [follower, { session }] of asked) {
      const live = found.get(session.id)
      if (!followers.has(follower)) continue
      if (live === undefined || !sessions.isLive(live)) {
        forget(follower)
        if (live !== undefined) sessions.noteEnd(live.session)
        follower.ended(new AuthError('session_ended'))
      } else {
        followers.set(follower, live)
        follower.changed(live)
      }
    }
  }

  function endAll(cause: unknown): void {
    if (followers.size > 0) log.error({ error: String(cause), streams: followers.size }, 'live_sessions_unknown')
    for (const follower of followers.keys()) {
      forget(follower)
      follower.ended(new AuthError('unavailable', { cause }))
    }
  }

  /** The same stream, ended with its reason when the session ends, `refuse` has one, or the caller is gone. */
  function whileLive<T>(
    source: AsyncIterable<T>,
    live: Live,
    options: { refuse: Refusal; signal: AbortSignal | undefined },
  ): AsyncIterable<T> {
    const { refuse, signal } = options
    return endable(source, (end) => {
      const onAbort = () => end(null)
      signal?.addEventListener('abort', onAbort)
      const stop = follow(live, {
        changed(next) {
          const refusal = refuse(next)
          if (refusal !== null) end(refusal)
        },
        ended: end,
      })
      return () => {
        stop()
        signal?.removeEventListener('abort', onAbort)
      }
    })
  }

  /** What happens to a user, as this session's user is to see it, until the session ends. */
  async function* events(live: Live, signal: AbortSignal | undefined): AsyncGenerator<AccountEvent, void> {
    let wake = Promise.withResolvers<Live | null>()
    // A rejection must not go unheard when it comes while nobody waits.
    wake.promise.catch(() => {})
    const stop = follow(live, { changed: (next) => wake.resolve(next), ended: (error) => wake.reject(error) })
    const onAbort = () => wake.resolve(null)
    signal?.addEventListener('abort', onAbort)
    try {
      let before = await snapshot(live)
      for (;;) {
        const next = await wake.promise
        if (next === null) return
        wake = Promise.withResolvers()
        wake.promise.catch(() => {})
        const after = await snapshot(next)
        for (const type of differences(before, after, now())) yield { type, at: new Date(now()) }
        before = after
      }
    } catch (error) {
      if (error instanceof AuthError && error.reason === 'session_ended') yield { type: 'session_ended', at: new Date(now()) }
      throw error
    } finally {
      stop()
      signal?.removeEventListener('abort', onAbort)
    }
  }

  async function snapshot({ user }: Live): Promise<Snapshot> {
    const ends = (await sessions.list(user.id)).map(({ id, expiresAt }) => [id, expiresAt.getTime()] as const)
    const account = [toUser(user), user.epoch, user.passwordHash, await identities.list(user.id)]
    return { account: JSON.stringify(account), ends: new Map(ends) }
  }

  return {
    whileLive,
    events,
    /** Ends every stream that is followed; callers come back to another process, or to this one when it is there again. */
    close: () => endAll('closing'),
  }
}

interface Snapshot {
  readonly account: string
  /** The user's sessions, and when each would expire. */
  readonly ends: ReadonlyMap<string, number>
}

function differences(before: Snapshot, after: Snapshot, at: number): AccountEvent['type'][] {
  const types: AccountEvent['type'][] = []
  if ([...after.ends.keys()].some((id) => !before.ends.has(id))) types.push('signed_in')
  if ([...before.ends].some(([id, expiresAt]) => !after.ends.has(id) && expiresAt > at)) types.push('session_revoked')
  if (before.account !== after.account) types.push('account_changed')
  return types
}
