import type { AuthError } from './errors.ts'
import type { Account, LiveSessions } from './live.ts'
import type { Live } from './sessions.ts'
import { toUser } from './users.ts'

/** What happened to a user's account or to another of their sessions. */
export interface AccountEvent {
  readonly type: 'signed_in' | 'session_revoked' | 'session_ended' | 'account_changed'
  readonly at: Date
}

export type AccountEvents = (live: Live, signal: AbortSignal | undefined) => AsyncGenerator<AccountEvent, void>

/** What happens to a user, as this session's user is to see it, until the session ends. */
export function createAccountEvents(deps: { live: LiveSessions; now: () => number }): AccountEvents {
  const { live: watch, now } = deps
  return async function* events(live, signal) {
    const inbox = createInbox()
    const { stop, lookAgain } = watch.follow(live, { wants: 'account', changed: inbox.put, ended: inbox.end })
    signal?.addEventListener('abort', inbox.leave)
    try {
      let before = snapshotOf(await watch.accountOf(live))
      // What came in meanwhile may be older than this, or newer: the next tick tells.
      inbox.empty()
      lookAgain()
      for (;;) {
        const account = await inbox.take()
        if (account === null) return
        const after = snapshotOf(account)
        for (const type of differences(before, after, now())) yield { type, at: new Date(now()) }
        before = after
      }
    } catch (error) {
      if ((error as Partial<AuthError>).reason === 'session_ended') yield { type: 'session_ended', at: new Date(now()) }
      throw error
    } finally {
      stop()
      signal?.removeEventListener('abort', inbox.leave)
    }
  }
}

/** Holds the newest account that was not taken yet, however slowly its reader comes back. */
function createInbox() {
  let newest: Account | null = null
  let ended: { readonly error: Error | null } | null = null
  let wake: (() => void) | null = null
  const end = (error: Error | null) => {
    ended ??= { error }
    wake?.()
  }
  return {
    put(account: Account): void {
      newest = account
      wake?.()
    },
    end,
    empty(): void {
      newest = null
    },
    leave: () => end(null),
    /** Waits for the next one; `null` when the reader left. @throws what ended the session */
    async take(): Promise<Account | null> {
      for (;;) {
        const taken = newest
        newest = null
        if (taken !== null) return taken
        if (ended?.error != null) throw ended.error
        if (ended !== null) return null
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
    },
  }
}

interface Snapshot {
  readonly account: string
  /** The user's sessions, and when each would expire. */
  readonly ends: ReadonlyMap<string, number>
}

function snapshotOf({ user, sessions, identities }: Account): Snapshot {
  return {
    account: JSON.stringify([toUser(user), user.epoch, user.passwordHash, identities]),
    ends: new Map(sessions.map(({ id, expiresAt }) => [id, expiresAt])),
  }
}

function differences(before: Snapshot, after: Snapshot, at: number): AccountEvent['type'][] {
  const types: AccountEvent['type'][] = []
  if ([...after.ends.keys()].some((id) => !before.ends.has(id))) types.push('signed_in')
  if ([...before.ends].some(([id, expiresAt]) => !after.ends.has(id) && expiresAt > at)) types.push('session_revoked')
  if (before.account !== after.account) types.push('account_changed')
  return types
}
