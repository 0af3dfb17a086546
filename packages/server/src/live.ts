import { bucketOf } from './buckets.ts'
import { endable } from './endable.ts'
import { AuthError } from './errors.ts'
import type { Log } from './log.ts'
import type { Live, Sessions } from './sessions.ts'
import type { Changes, IdentityRecord, IdentityStore, SessionRecord, SessionStore } from './storage/storage.ts'

const TICK_MS = 250
// A store that cannot be asked for this long ends the streams, as it would refuse the requests.
const MAX_FAILURES = 3

/** A user as stored, with what a stream of account events shows beside it. */
export interface Account extends Live {
  /** All live sessions of the user. */
  readonly sessions: readonly SessionRecord[]
  readonly identities: readonly IdentityRecord[]
}

/** Who is told of changes; still live when told so. */
export type Follower = { ended(error: AuthError): void } & (
  | { readonly wants: 'session'; changed(live: Live): void }
  | { readonly wants: 'account'; changed(account: Account): void }
)

/** Says why a stream may not go on, or `null`. */
export type Refusal = (live: Live) => AuthError | null

interface Watched {
  live: Live
  readonly bucket: number
  /** Not compared since it began: what happened between its look-up and then was announced before anybody listened. */
  unseen: boolean
}

export type LiveSessions = ReturnType<typeof createLiveSessions>

/** Watches the sessions behind open streams: one question to the store each tick, and more only for users of whom something was announced. */
export function createLiveSessions(deps: {
  store: Pick<SessionStore, 'findByIds' | 'list'>
  identities: Pick<IdentityStore, 'list'>
  changes: (known: Changes | null) => Promise<Changes>
  sessions: Pick<Sessions, 'isLive' | 'noteEnd'>
  now: () => number
  log: Log
}) {
  const { store, identities, sessions, now, log } = deps
  const followers = new Map<Follower, Watched>()
  let timer: NodeJS.Timeout | undefined
  let known: Changes | null = null
  let asking = false
  let failures = 0

  /** Tells a follower of changes until it is told to stop or the session ends. */
  function follow(live: Live, follower: Follower) {
    const watched: Watched = { live, bucket: bucketOf(live.user.id), unseen: true }
    followers.set(follower, watched)
    timer ??= setInterval(() => void tick(), TICK_MS).unref()
    return {
      stop: () => forget(follower),
      /** At the next tick, whether anything was announced or not. */
      lookAgain() {
        watched.unseen = true
      },
    }
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
      const before = known
      const changes = await deps.changes(before)
      const moved = (bucket: number) => before === null || changes.counts[bucket] !== before.counts[bucket]
      const due = [...followers].filter(([, { live, bucket, unseen }]) => unseen || moved(bucket) || !sessions.isLive(live))
      if (due.length > 0) await compare(due)
      known = changes
      failures = 0
    } catch (error) {
      known = null
      failures += 1
      if (failures >= MAX_FAILURES) endAll(error)
    } finally {
      asking = false
    }
  }

  async function compare(due: readonly (readonly [Follower, Watched])[]): Promise<void> {
    for (const [, watched] of due) watched.unseen = false
    const ids = new Set(due.map(([, { live }]) => live.session.id))
    const found = new Map((await store.findByIds([...ids])).map((live) => [live.session.id, live]))
    const wanting = due.filter(([{ wants }, { live }]) => wants === 'account' && found.has(live.session.id))
    const accounts = await accountsOf(new Set(wanting.map(([, { live }]) => live.user.id)))
    for (const [follower, watched] of due) {
      if (!followers.has(follower)) continue
      const live = found.get(watched.live.session.id)
      if (live === undefined || !sessions.isLive(live)) {
        forget(follower)
        if (live !== undefined) sessions.noteEnd(live.session)
        follower.ended(new AuthError('session_ended'))
        continue
      }
      watched.live = live
      if (follower.wants === 'session') follower.changed(live)
      else follower.changed({ ...live, ...accounts(live.user.id) })
    }
  }

  /** Two queries for all users together. */
  async function accountsOf(userIds: ReadonlySet<string>): Promise<(userId: string) => Omit<Account, keyof Live>> {
    const ids = [...userIds]
    const [live, linked] = ids.length === 0 ? [[], []] : await Promise.all([store.list(ids, now()), identities.list(ids)])
    const sessionsBy = Map.groupBy(live, ({ userId }) => userId)
    const identitiesBy = Map.groupBy(linked, ({ userId }) => userId)
    return (userId) => ({ sessions: sessionsBy.get(userId) ?? [], identities: identitiesBy.get(userId) ?? [] })
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
      const { stop } = follow(live, {
        wants: 'session',
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

  return {
    follow,
    whileLive,
    /** The account behind a session as it is now. */
    async accountOf(live: Live): Promise<Account> {
      const { id } = live.user
      return { ...live, ...(await accountsOf(new Set([id])))(id) }
    },
    /** Ends every stream that is followed; callers come back to another process, or to this one when it is there again. */
    close: () => endAll('closing'),
  }
}
