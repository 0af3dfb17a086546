/**
 * What the domain asks of a database. Instants are milliseconds since 1970, given by the caller: a store never reads the clock
 * and never decides what is valid. Absent is `null`, already there or no longer true is `false`.
 * Every method throws `AuthError` with reason `unavailable` when the database fails, and nothing else.
 */
export interface Storage {
  readonly users: UserStore
  readonly sessions: SessionStore
  readonly attempts: AttemptStore
  /** Creates or upgrades the schema; safe to call from several processes at once. Names what it applied. */
  migrate(options?: { dryRun?: boolean }): Promise<string[]>
  /** Whether the database can be reached and written. */
  check(): Promise<void>
  /** A number that is another one once any process has changed something; cheap enough to be asked for several times a second. */
  changes(): Promise<number>
  close(): Promise<void>
}

export interface UserRecord {
  readonly id: string
  readonly username: string
  /** `username` as compared; unique. */
  readonly usernameKey: string
  readonly name: string | null
  /** Canonical; unique only among verified ones. */
  readonly email: string | null
  readonly emailVerifiedAt: number | null
  readonly roles: readonly string[]
  readonly passwordHash: string | null
  /** Counts what ends all sessions; a session belongs to one epoch. */
  readonly epoch: number
  readonly createdAt: number
  readonly disabledAt: number | null
  readonly lastLoginAt: number | null
}

export interface UserStore {
  /** `false` when the username, or the verified address, is taken. */
  create(user: UserRecord): Promise<boolean>
  findById(id: string): Promise<UserRecord | null>
  findByUsernameKey(key: string): Promise<UserRecord | null>
  findByVerifiedEmail(email: string): Promise<UserRecord | null>
  /** `null` when there is no such user. */
  setName(id: string, name: string | null): Promise<UserRecord | null>
  /** Replaces a hash by a better one of the same password; `false` when it changed meanwhile. */
  rehash(id: string, change: { from: string; to: string }): Promise<boolean>
  /**
   * Sets a password and ends every session, but for the one to keep, which gets a new token and epoch.
   * `false`, and nothing changed, when the user's epoch moved on or the kept session has ended.
   */
  setPassword(id: string, change: PasswordChange): Promise<boolean>
  /** Disables (an instant) or enables (`null`); disabling ends every session. `null` when there is no such user. */
  setDisabledAt(id: string, disabledAt: number | null, now: number): Promise<UserRecord | null>
  /** Removes the user with all that is theirs; `false` when there is none. */
  delete(id: string): Promise<boolean>
  /** In the order of their creation, newest first, those before the cursor id. */
  list(page: { search: string | null; limit: number; before: string | null }): Promise<UserRecord[]>
}

export interface PasswordChange {
  readonly epoch: number
  readonly passwordHash: string
  readonly now: number
  readonly keep: { sessionId: string; from: Uint8Array; to: Uint8Array } | null
}

export interface SessionRecord {
  readonly id: string
  readonly userId: string
  readonly userEpoch: number
  /** SHA-256 of the token; unique. */
  readonly tokenHash: Uint8Array
  readonly createdAt: number
  readonly lastSeenAt: number
  /** The idle limit, never past the absolute one. */
  readonly expiresAt: number
  readonly absoluteExpiresAt: number
  /** When a secret was last proved. */
  readonly authenticatedAt: number
  readonly remembered: boolean
  readonly userAgent: string | null
  readonly ip: string | null
  /** Logged out or revoked; the row stays a while so that its cookie can be told so. */
  readonly endedAt: number | null
}

export interface SessionStore {
  /**
   * Starts a session and notes the login. Removes `replaces`, so that a late request with it cannot have the new cookie cleared,
   * and ends what exceeds `maxPerUser`, oldest first.
   * `false` when the user is gone, disabled or of another epoch.
   */
  start(session: SessionRecord, options: { replaces: Uint8Array | null; maxPerUser: number }): Promise<boolean>
  /** The session and its user in one read; this is the path that decides the speed of everything. */
  find(tokenHash: Uint8Array): Promise<{ session: SessionRecord; user: UserRecord } | null>
  /** The sessions with these ids and their users, those that exist. */
  findByIds(ids: readonly string[]): Promise<{ session: SessionRecord; user: UserRecord }[]>
  /** Moves live sessions' last use and idle limit forward, never backward and never a dead one. */
  extend(uses: readonly SessionUse[], now: number): Promise<void>
  /** Replaces a live session's token after its user proved a secret; `false` when another came first. */
  rotate(id: string, change: { from: Uint8Array; to: Uint8Array; authenticatedAt: number }): Promise<boolean>
  /** `false` when this user has no such live session. */
  end(id: string, userId: string, now: number): Promise<boolean>
  /** Ends all live sessions of a user but one; answers how many. */
  endAll(userId: string, except: string | null, now: number): Promise<number>
  /** Live ones, newest first. */
  list(userId: string, now: number): Promise<SessionRecord[]>
  /** Removes up to `limit` rows that expired before an instant; answers how many. */
  purge(expiredBefore: number, limit: number): Promise<number>
}

/** How often something was tried, under one key. */
export interface Attempts {
  readonly count: number
  /** None is allowed before this instant. */
  readonly blockedUntil: number
  /** From here on it is as if nothing had been tried. */
  readonly expiresAt: number
}

export interface AttemptStore {
  /**
   * Changes counters in one step that no other comes between: `decide` sees those that exist and answers those to write, with
   * `null` for one to remove. It may run more than once, and what it answers last is what was written.
   */
  change(keys: readonly string[], decide: (current: ReadonlyMap<string, Attempts>) => ReadonlyMap<string, Attempts | null>): Promise<void>
  /** Removes up to `limit` counters that expired before an instant; answers how many. */
  purge(expiredBefore: number, limit: number): Promise<number>
}

export interface SessionUse {
  readonly id: string
  readonly lastSeenAt: number
  readonly expiresAt: number
}
