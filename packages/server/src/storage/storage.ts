/**
 * What the domain asks of a database. Instants are milliseconds since 1970, given by the caller: a store never reads the clock
 * and never decides what is valid. Absent is `null`, already there or no longer true is `false`.
 * Every method throws `AuthError` with reason `unavailable` when the database fails, and nothing else.
 */
export interface Storage {
  readonly users: UserStore
  readonly sessions: SessionStore
  readonly attempts: AttemptStore
  readonly audit: AuditStore
  readonly identities: IdentityStore
  readonly transactions: TransactionStore
  /** Creates or upgrades the schema; safe to call from several processes at once. Names what it applied. */
  migrate(options?: { dryRun?: boolean }): Promise<string[]>
  /** What separates the database's schema from what this program knows; changes nothing. */
  schema(): Promise<SchemaState>
  /** Whether the database can be reached, and every table written that a sign-in writes; fails with what is wrong as its cause. */
  check(): Promise<void>
  /** What any process has announced; `known` itself while that is all. Cheap enough to be asked for several times a second. */
  changes(known: Changes | null): Promise<Changes>
  close(): Promise<void>
}

/** Counters of changes. */
export interface Changes {
  /** For the store alone. */
  readonly version: number
  /**
   * By bucket (see `buckets.ts`): another number once a session or an identity of a user in it began or ended, or such a user changed.
   * Last uses, counters and the log are no changes.
   */
  readonly counts: readonly number[]
}

/** What separates a database's schema from this program's. */
export interface SchemaState {
  /** What `migrate` would apply. */
  readonly pending: readonly string[]
  /** Versions that a newer program applied. */
  readonly newer: readonly number[]
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
  /** The application's own, as its schema gave them; `null` where it has none. */
  readonly attributes: Attributes | null
}

export type Attributes = Readonly<Record<string, unknown>>

/** What an administrator may change; absent fields stay. */
export interface UserChange {
  readonly name?: string | null | undefined
  readonly email?: string | null | undefined
  readonly emailVerifiedAt?: number | null | undefined
  readonly roles?: readonly string[] | undefined
  readonly attributes?: Attributes | null | undefined
}

/**
 * Every write takes an entry for the audit log, written in the same transaction and only when something changed. `last_admin`
 * says that nothing changed, because no enabled user with the role `admin` would have been left.
 */
export interface UserStore {
  /** `false` when the username, or the verified address, is taken. */
  create(user: UserRecord, entry?: AuditWrite): Promise<boolean | 'refused'>
  /** Many at once, in one transaction; returns by id what became of each. */
  createMany(users: readonly UserRecord[], entry?: AuditRecord): Promise<ReadonlyMap<string, 'created' | 'username_taken' | 'email_taken'>>
  findById(id: string): Promise<UserRecord | null>
  findByUsernameKey(key: string): Promise<UserRecord | null>
  findByVerifiedEmail(email: string): Promise<UserRecord | null>
  /** `taken` when the verified address is another's, `null` when there is no such user. A changed address voids password resets. */
  update(id: string, change: UserChange, entry?: AuditWrite): Promise<UserRecord | 'taken' | 'last_admin' | 'refused' | null>
  /** Replaces a hash by a better one of the same password; `false` when it changed meanwhile. */
  rehash(id: string, change: { from: string; to: string }): Promise<boolean>
  /**
   * Sets a password and ends every session, reset and sign-in under way, but for the one to keep, which gets a new token and epoch.
   * `false`, and nothing changed, when the user's epoch moved on or the kept session has ended.
   */
  setPassword(id: string, change: PasswordChange, entry?: AuditWrite): Promise<boolean | 'refused'>
  /** Disables (an instant) or enables (`null`); disabling ends every session, reset and sign-in under way. `null` when there is no such user. */
  setDisabledAt(
    id: string,
    disabledAt: number | null,
    now: number,
    entry?: AuditWrite,
  ): Promise<UserRecord | 'last_admin' | 'refused' | null>
  /**
   * Removes the user with all that is theirs, ips, names and addresses in the audit log included; `false` when there is none.
   * `referenced`, and nothing changed, when rows of the application point to them.
   */
  delete(id: string, entry?: AuditWrite): Promise<boolean | 'last_admin' | 'referenced' | 'refused'>
  /** Lets a password be set by who holds the token, and voids earlier resets; `false` when there is no such user. */
  startReset(reset: ResetRecord, entry?: AuditWrite): Promise<boolean | 'refused'>
  /** Whose reset this is, while it is valid. */
  findReset(tokenHash: Uint8Array, now: number): Promise<UserRecord | null>
  /** Uses a reset up, sets the password and ends every session; of many at once one gets `true`. */
  finishReset(tokenHash: Uint8Array, change: { passwordHash: string; now: number }, entry?: AuditRecord): Promise<boolean>
  /** Without a search the newest first; with one those whose username, or with an `@` address, begins so, in that order. */
  list(page: UserPage): Promise<UserRecord[]>
}

export interface UserPage {
  /** The beginning of a `usernameKey` or of an address. */
  readonly search: string | null
  readonly limit: number
  /** The last of the page before, or `null`. */
  readonly after: Pick<UserRecord, 'id' | 'usernameKey' | 'email'> | null
}

export interface ResetRecord {
  readonly tokenHash: Uint8Array
  readonly userId: string
  readonly expiresAt: number
}

/** What was done, by whom and to whom; never changed afterwards but for the removal of what names a deleted user. */
export interface AuditRecord {
  /** A UUIDv7 of `at`, so that the order of ids is that of time. */
  readonly id: string
  readonly at: number
  readonly type: string
  /** `null` for the command line and for who is not signed in. */
  readonly actorId: string | null
  readonly subjectId: string | null
  readonly address: string | null
  /** Before and after, without secrets; small. */
  readonly detail: Readonly<Record<string, unknown>>
}

/**
 * On whose word something is written: a session that is live, of an enabled user who has the role, where one is named, and who proved
 * a secret after an instant, where one is given.
 */
export interface Authority {
  readonly userId: string
  readonly sessionId: string
  readonly role: string | null
  readonly provedAfter: number | null
  readonly now: number
}

/** What a write leaves in the audit log; where it names an authority that no longer holds, nothing is written, and the answer is `refused`. */
export interface AuditWrite extends AuditRecord {
  readonly authority?: Authority
}

export interface AuditStore {
  append(entry: AuditRecord): Promise<void>
  /** Newest first. */
  list(page: AuditPage): Promise<AuditRecord[]>
  /** How many entries of a type each span of `ms` milliseconds from an instant on holds; spans without any are left out. */
  count(type: string, from: number, ms: number): Promise<ReadonlyMap<number, number>>
  /** Removes up to `limit` entries older than an instant; answers how many. */
  purge(before: number, limit: number): Promise<number>
}

export interface AuditPage {
  /** As actor or subject. */
  readonly userId: string | null
  readonly type: string | null
  readonly limit: number
  /** The id of the last of the page before, or `null`. */
  readonly before: string | null
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

export interface SessionStart {
  readonly replaces: Uint8Array | null
  readonly maxPerUser: number
  readonly entry?: AuditRecord
  readonly newUser?: { readonly user: UserRecord; readonly entry: AuditRecord }
}

export interface SessionStore {
  /**
   * Starts a session and notes the login. Removes `replaces`, so that a late request with it cannot have the new cookie cleared,
   * and ends what exceeds `maxPerUser`, oldest first.
   * `false` when the user is gone, disabled or of another epoch; with `newUser`, who is made first, when the username or the verified
   * address is taken, and nothing is written.
   */
  start(session: SessionRecord, options: SessionStart): Promise<boolean>
  /** The session and its user in one read; this is the path that decides the speed of everything. */
  find(tokenHash: Uint8Array): Promise<{ session: SessionRecord; user: UserRecord } | null>
  /** The sessions with these ids and their users, those that exist. */
  findByIds(ids: readonly string[]): Promise<{ session: SessionRecord; user: UserRecord }[]>
  /** Moves live sessions' last use and idle limit forward, never backward and never a dead one. */
  extend(uses: readonly SessionUse[], now: number): Promise<void>
  /** Replaces a live session's token after its user proved a secret; `false` when another came first. */
  rotate(id: string, change: { from: Uint8Array; to: Uint8Array; authenticatedAt: number }, entry?: AuditRecord): Promise<boolean>
  /** `false` when this user has no such live session. */
  end(id: string, userId: string, now: number, entry?: AuditWrite): Promise<boolean | 'refused'>
  /** Ends all live sessions of a user, or with `null` of everyone, but one; answers how many. */
  endAll(userId: string | null, except: string | null, now: number, entry?: AuditWrite): Promise<number | 'refused'>
  /** Ends for good those of these that have expired, so that a clock that is set back revives none. */
  expire(ids: readonly string[], now: number): Promise<void>
  /** Live ones of these users, newest first. */
  list(userIds: readonly string[], now: number): Promise<SessionRecord[]>
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

/** An account elsewhere that signs in a user here; what names it is issuer and subject together, nothing else. */
export interface IdentityRecord {
  readonly id: string
  readonly userId: string
  /** The provider's id in our configuration. */
  readonly provider: string
  readonly issuer: string
  readonly subject: string
  /** As the provider gave it when the identity was linked; names nobody. */
  readonly email: string | null
  readonly createdAt: number
}

/** What must still be so when an identity is linked: the proof that was looked at before. */
export type LinkProof =
  /** The user's address is proved, and is this one. */
  | { readonly verifiedEmail: string }
  /** The user is signed in with this session. */
  | { readonly sessionId: string; readonly now: number }

export interface IdentityStore {
  /** The user whom an identity signs in. */
  findUser(issuer: string, subject: string): Promise<UserRecord | null>
  /**
   * Makes a user together with the identity. Where its address is verified, users who claim the same one without proof lose that
   * claim and their resets; `released` makes the entry for each of them. Otherwise says what was taken, and nothing changed.
   */
  createUser(
    user: UserRecord,
    identity: IdentityRecord,
    entries: { created: AuditRecord; released: (userId: string) => AuditRecord },
  ): Promise<'created' | 'identity_taken' | 'username_taken' | 'email_taken'>
  /** `false`, and nothing changed, when the proof no longer holds, the user is disabled, or the identity is linked already. */
  link(identity: IdentityRecord, proof: LinkProof, entry: AuditRecord): Promise<boolean>
  /** Those of these users, oldest first. */
  list(userIds: readonly string[]): Promise<IdentityRecord[]>
  /** `last_way` when the user could not sign in any more without it; `false` when this user has no such identity. */
  unlink(id: string, userId: string, entry: AuditWrite): Promise<boolean | 'last_way' | 'refused'>
}

/** A sign-in that is under way at a provider. */
export interface TransactionRecord {
  /** SHA-256 of the state; unique. */
  readonly stateHash: Uint8Array
  /** SHA-256 of the cookie of the browser, or the program, in which it began. */
  readonly bindingHash: Uint8Array
  readonly provider: string
  readonly nonce: string
  /** The PKCE secret (RFC 7636). */
  readonly codeVerifier: string
  readonly returnTo: string
  readonly remember: boolean
  /** To add an identity to this session's user rather than to sign in. */
  readonly link: boolean
  /** Who was signed in when it began, and with which session. */
  readonly userId: string | null
  readonly sessionId: string | null
  /** Where the program that began it listens on this machine. */
  readonly loopbackPort: number | null
  readonly createdAt: number
  readonly expiresAt: number
}

export interface TransactionStore {
  put(transaction: TransactionRecord): Promise<void>
  find(stateHash: Uint8Array): Promise<TransactionRecord | null>
  /** Reads and removes in one step: of many callers with one state and its binding, exactly one gets it. */
  take(stateHash: Uint8Array, bindingHash: Uint8Array): Promise<TransactionRecord | null>
  /** Removes up to `limit` that expired before an instant; answers how many. */
  purge(expiredBefore: number, limit: number): Promise<number>
}
