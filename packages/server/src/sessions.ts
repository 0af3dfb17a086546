import { type Act, type Audit, SYSTEM } from './audit.ts'
import { AuthError } from './errors.ts'
import type { Log } from './log.ts'
import type { SessionOptions } from './options.ts'
import { createPurge } from './purge.ts'
import type { AuditRecord, SessionRecord, SessionStore, SessionUse, UserRecord } from './storage/storage.ts'
import { hashToken, newId, newToken } from './tokens.ts'

const LAST_SEEN_STEP_MS = 60_000
const PURGE_AFTER_MS = 24 * 60 * 60_000
// Clocks of servers differ by a little.
const CLOCK_SKEW_MS = 60_000

/** A session as its user sees it; the token is not part of it. */
export interface Session {
  readonly id: string
  readonly createdAt: Date
  readonly lastSeenAt: Date
  readonly expiresAt: Date
  /** Outlives the browser's own session. */
  readonly remembered: boolean
  /** A secret was proved recently enough for sensitive acts. */
  readonly fresh: boolean
  /** The session this very call is made with. */
  readonly current: boolean
  readonly userAgent: string | null
  readonly ip: string | null
}

/** A session and whose it is, as stored. */
export interface Live {
  readonly session: SessionRecord
  readonly user: UserRecord
}

/** What a token turned out to be. */
export type Resolution = ({ readonly state: 'live' } & Live) | { readonly state: 'ended' } | { readonly state: 'unknown' }

/** Where a session comes from. */
export interface Origination {
  readonly remember: boolean
  readonly userAgent: string | null
  readonly ip: string | null
  /** The token that came with the request: never adopted, and ended. */
  readonly replaces: string | null
  /** The provider that vouched for the user, or `null`. */
  readonly provider: string | null
}

export type Sessions = ReturnType<typeof createSessions>

export function createSessions(deps: { store: SessionStore; audit: Audit; now: () => number; options: SessionOptions; log: Log }) {
  const { store, audit, now, options, log } = deps
  const uses = new Map<string, SessionUse>()
  const expired = new Map<string, number>()
  let flushing: Promise<void> = Promise.resolve()
  const purge = createPurge({ remove: (at, limit) => store.purge(at - PURGE_AFTER_MS, limit), log, failure: 'session_purge_failed' })

  /**
   * Starts a session for someone who has proved who they are, or together with an account that is made for them.
   * @throws `invalid_credentials` when the account changed meanwhile, `conflict` when a new one's name is taken
   */
  async function start(user: UserRecord, from: Origination, created?: AuditRecord) {
    const token = newToken()
    const at = now()
    const absoluteExpiresAt = at + (from.remember ? options.rememberedAbsoluteMs : options.absoluteMs)
    const session: SessionRecord = {
      id: newId(at),
      userId: user.id,
      userEpoch: user.epoch,
      tokenHash: hashToken(token),
      createdAt: at,
      lastSeenAt: at,
      expiresAt: Math.min(at + idleMs(from.remember), absoluteExpiresAt),
      absoluteExpiresAt,
      authenticatedAt: at,
      remembered: from.remember,
      userAgent: from.userAgent,
      ip: from.ip,
      endedAt: null,
    }
    const replaces = from.replaces === null ? null : hashToken(from.replaces)
    const entry = audit.entry('authn_login_success', { actorId: user.id, address: from.ip }, user.id, {
      sessionId: session.id,
      remembered: session.remembered,
      ...(from.provider === null ? {} : { provider: from.provider }),
    })
    const newUser = created && { user, entry: created }
    const started = await store.start(session, { replaces, maxPerUser: options.maxPerUser, entry, ...(newUser && { newUser }) })
    if (!started) throw newUser === undefined ? new AuthError('invalid_credentials') : nameTaken()
    log.info({ userId: user.id, sessionId: session.id, remembered: session.remembered }, 'session_created')
    purge.sometimes(at)
    return { token, session, user }
  }

  async function resolve(token: string): Promise<Resolution> {
    const found = await store.find(hashToken(token))
    if (found === null) return { state: 'unknown' }
    const { session, user } = found
    const at = now()
    if (!isLive(found)) {
      noteEnd(session)
      return { state: 'ended' }
    }
    if (at - session.lastSeenAt >= LAST_SEEN_STEP_MS) noteUse(session, at)
    return { state: 'live', session, user }
  }

  function isLive({ session, user }: Live): boolean {
    if (session.endedAt !== null || session.expiresAt <= now()) return false
    return user.disabledAt === null && user.epoch === session.userEpoch
  }

  /** Notes the use for a later write: the caller must not wait for it, and many calls make one write. */
  function noteUse(session: SessionRecord, at: number): void {
    flushSoon()
    const expiresAt = Math.min(at + idleMs(session.remembered), session.absoluteExpiresAt)
    uses.set(session.id, { id: session.id, lastSeenAt: at, expiresAt })
  }

  /** A session that was refused as expired stays so, whatever becomes of the clock. */
  function noteEnd({ id, endedAt, expiresAt }: SessionRecord): void {
    const at = now()
    if (endedAt !== null || expiresAt > at) return
    flushSoon()
    expired.set(id, at)
  }

  function flushSoon(): void {
    if (uses.size === 0 && expired.size === 0) setImmediate(() => void flush())
  }

  /** Writes what is noted; resolves when it is in the store. */
  function flush(): Promise<void> {
    flushing = flushing.then(async () => {
      const [batch, ends, refusedAt] = [[...uses.values()], [...expired.keys()], Math.max(...expired.values())]
      uses.clear()
      expired.clear()
      // Judged by the time of the use or the refusal, not by that of the write.
      const usedAt = Math.min(...batch.map(({ lastSeenAt }) => lastSeenAt))
      // The caller was answered long ago, and the next use tries again.
      if (batch.length > 0) await store.extend(batch, usedAt).catch(noteFailure)
      if (ends.length > 0) await store.expire(ends, refusedAt).catch(noteFailure)
    })
    return flushing
  }

  function noteFailure(error: unknown): void {
    log.error({ error: String(error) }, 'session_extend_failed')
  }

  /**
   * A new token for a session whose user proved a secret again (ASVS 7.2.4).
   * @throws `conflict` when another call got a new one first, `session_ended` when it ended meanwhile
   */
  async function rotate(session: SessionRecord, by: Act, more: { provider?: string } = {}) {
    const token = newToken()
    const change = { from: session.tokenHash, to: hashToken(token), authenticatedAt: now() }
    const detail = { sessionId: session.id, reauthentication: true, ...more }
    const entry = audit.entry('authn_login_success', by, session.userId, detail)
    if (!(await store.rotate(session.id, change, entry))) throw await lostRace(session)
    log.info({ userId: session.userId, sessionId: session.id, reauthentication: true }, 'authn_login_success')
    return { token, session: { ...session, tokenHash: change.to, authenticatedAt: change.authenticatedAt } }
  }

  async function lostRace({ id }: SessionRecord): Promise<AuthError> {
    const [found] = await store.findByIds([id])
    if (found === undefined || !isLive(found)) return new AuthError('session_ended')
    return new AuthError('conflict', { message: 'Another call gave the session a new token; try again' })
  }

  /** Why an act was refused when it was to be written. */
  async function refusalOf({ session }: Act): Promise<AuthError> {
    const [found] = session === undefined ? [] : await store.findByIds([session.id])
    if (session === undefined || found === undefined || !isLive(found)) return new AuthError('session_ended')
    const { role, maxAgeMs } = session
    if (role !== null && !found.user.roles.includes(role)) return new AuthError('forbidden')
    if (maxAgeMs !== null && !isFresh(found.session, maxAgeMs)) return new AuthError('reauthentication_required')
    return new AuthError('conflict', { message: 'Your account was changed by another call; try again' })
  }

  function idleMs(remembered: boolean): number {
    return remembered ? options.rememberedIdleMs : options.idleMs
  }

  function toSession(record: SessionRecord, currentId: string | null): Session {
    return {
      id: record.id,
      createdAt: new Date(record.createdAt),
      lastSeenAt: new Date(record.lastSeenAt),
      expiresAt: new Date(record.expiresAt),
      remembered: record.remembered,
      fresh: isFresh(record, options.freshMs),
      current: record.id === currentId,
      userAgent: record.userAgent,
      ip: record.ip,
    }
  }

  function isFresh(record: SessionRecord, maxAgeMs = options.freshMs): boolean {
    const age = now() - record.authenticatedAt
    // A secret that is to be proved in the future was proved by a clock that has been set back since.
    return age < maxAgeMs && age >= -CLOCK_SKEW_MS
  }

  return {
    start,
    resolve,
    isLive,
    noteEnd,
    rotate,
    refusalOf,
    flush,
    /** Removes sessions a day past their end; answers how many. */
    purge: () => purge.now(now()),
    isFresh,
    freshMs: options.freshMs,
    toSession,
    /** Ends one session of a user. @throws `not_found` when the user has no such session */
    async revoke(userId: string, id: string, by: Act = SYSTEM): Promise<void> {
      const entry = audit.entry('session_revoked', by, userId, { sessionId: id })
      const ended = await store.end(id, userId, now(), entry)
      if (ended === 'refused') throw await refusalOf(by)
      if (!ended) throw new AuthError('not_found')
      log.info({ userId, sessionId: id, actorId: by.actorId }, 'session_revoked')
    },
    /** Ends the session that its user leaves; a second time at the same moment finds it ended, which is what was asked for. */
    async logout(userId: string, id: string, by: Act): Promise<void> {
      if (!(await store.end(id, userId, now(), audit.entry('authn_logout', by, userId, { sessionId: id })))) return
      log.info({ userId, sessionId: id }, 'authn_logout')
    },
    /** Ends all sessions of a user, or with `null` of everyone, but for one to keep; answers how many. */
    async revokeAll(userId: string | null, except: string | null = null, by: Act = SYSTEM): Promise<number> {
      const revoked = await store.endAll(userId, except, now(), audit.entry('session_revoked', by, userId, { all: true }))
      if (revoked === 'refused') throw await refusalOf(by)
      log.info({ userId, revoked, actorId: by.actorId }, 'session_revoked')
      return revoked
    },
    /** The live sessions of a user, newest first. */
    async list(userId: string, currentId: string | null = null): Promise<Session[]> {
      return (await store.list([userId], now())).map((record) => toSession(record, currentId))
    },
  }
}

/** The same for names and addresses, which tell apart nobody who asks for either. */
export function nameTaken(): AuthError {
  return new AuthError('conflict', { message: 'This username or address is taken' })
}
