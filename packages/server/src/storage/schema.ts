import { createHash } from 'node:crypto'

/** Rows as the SQL engines hold them; see `storage.ts` for what the columns mean. */
export interface Schema {
  users: UserRow
  sessions: SessionRow
  attempts: AttemptRow
  resets: ResetRow
  audit: AuditRow
  identities: IdentityRow
  oauth_transactions: TransactionRow
  changes: ChangesRow
  trpc_login_migrations: { version: number; name: string; checksum: string; applied_at: number }
}

export interface UserRow {
  id: string
  username: string
  username_key: string
  name: string | null
  email: string | null
  email_verified_at: number | null
  roles: string
  password_hash: string | null
  epoch: number
  created_at: number
  disabled_at: number | null
  last_login_at: number | null
  attributes: string | null
}

export interface SessionRow {
  id: string
  user_id: string
  user_epoch: number
  token_hash: Uint8Array
  created_at: number
  last_seen_at: number
  expires_at: number
  absolute_expires_at: number
  authenticated_at: number
  remembered: number
  user_agent: string | null
  ip: string | null
  ended_at: number | null
}

export interface AttemptRow {
  key: string
  count: number
  blocked_until: number
  expires_at: number
}

export interface ResetRow {
  token_hash: Uint8Array
  user_id: string
  expires_at: number
}

export interface AuditRow {
  id: string
  at: number
  type: string
  actor_id: string | null
  subject_id: string | null
  address: string | null
  detail: string
}

export interface IdentityRow {
  id: string
  user_id: string
  provider: string
  issuer: string
  subject: string
  email: string | null
  created_at: number
}

export interface TransactionRow {
  state_hash: Uint8Array
  binding_hash: Uint8Array
  provider: string
  nonce: string
  code_verifier: string
  return_to: string
  remember: number
  link: number
  user_id: string | null
  session_id: string | null
  loopback_port: number | null
  created_at: number
  expires_at: number
}

export interface ChangesRow {
  bucket: number
  /** Raised with every change that somebody may follow. */
  n: number
  /** Raised where a session may have ended, or a user changed. */
  ended: number
}

/** Column types that the engines name differently. */
export interface ColumnTypes {
  readonly bytes: 'blob' | 'bytea'
  /** What is looked up, or listed in order, by its bytes. */
  readonly key: 'text' | 'text collate "C"'
}

/** As the index has it, word for word: engines use it only then. */
export const IS_ADMIN = `roles like '%"admin"%' and disabled_at is null`

export interface Migration {
  readonly version: number
  readonly name: string
  readonly statements: readonly string[]
  readonly checksum: string
}

/** All migrations in order. One that was released is never edited: its checksum is recorded where it was applied. */
export function migrations(types: ColumnTypes): Migration[] {
  return [
    migration(1, 'users and sessions', usersAndSessions(types)),
    migration(2, 'attempts', attempts(types)),
    migration(3, 'administration', administration(types)),
    migration(4, 'attributes', ['alter table users add column attributes text']),
    migration(5, 'sign-in with others', signInWithOthers(types)),
    migration(6, 'changes', CHANGES),
  ]
}

function migration(version: number, name: string, statements: readonly string[]): Migration {
  return { version, name, statements, checksum: createHash('sha256').update(statements.join(';')).digest('hex') }
}

function usersAndSessions({ bytes, key }: ColumnTypes): string[] {
  return [
    `create table users (
      id ${key} primary key,
      username text not null,
      username_key ${key} not null unique,
      name text,
      email ${key},
      email_verified_at bigint,
      roles text not null,
      password_hash text,
      epoch bigint not null,
      created_at bigint not null,
      disabled_at bigint,
      last_login_at bigint
    )`,
    'create unique index users_verified_email on users (email) where email_verified_at is not null',
    `create table sessions (
      id ${key} primary key,
      user_id ${key} not null references users (id) on delete cascade,
      user_epoch bigint not null,
      token_hash ${bytes} not null unique,
      created_at bigint not null,
      last_seen_at bigint not null,
      expires_at bigint not null,
      absolute_expires_at bigint not null,
      authenticated_at bigint not null,
      remembered bigint not null,
      user_agent text,
      ip text,
      ended_at bigint
    )`,
    'create index sessions_user on sessions (user_id)',
    'create index sessions_expiry on sessions (expires_at)',
  ]
}

function attempts({ key }: ColumnTypes): string[] {
  return [
    `create table attempts (
    key ${key} primary key,
    count bigint not null,
    blocked_until bigint not null,
    expires_at bigint not null
  )`,
    'create index attempts_expiry on attempts (expires_at)',
  ]
}

function administration({ bytes, key }: ColumnTypes): string[] {
  return [
    'create index users_email on users (email, id)',
    `create index users_admin on users (id) where ${IS_ADMIN}`,
    `create table resets (
      token_hash ${bytes} primary key,
      user_id ${key} not null references users (id) on delete cascade,
      expires_at bigint not null
    )`,
    'create index resets_user on resets (user_id)',
    `create table audit (
      id ${key} primary key,
      at bigint not null,
      type text not null,
      actor_id ${key},
      subject_id ${key},
      address text,
      detail text not null
    )`,
    'create index audit_actor on audit (actor_id, id)',
    'create index audit_subject on audit (subject_id, id)',
    'create index audit_type on audit (type, id)',
  ]
}

function signInWithOthers({ bytes, key }: ColumnTypes): string[] {
  return [
    `create table identities (
      id ${key} primary key,
      user_id ${key} not null references users (id) on delete cascade,
      provider text not null,
      issuer ${key} not null,
      subject ${key} not null,
      email text,
      created_at bigint not null,
      unique (issuer, subject)
    )`,
    'create index identities_user on identities (user_id)',
    `create table oauth_transactions (
      state_hash ${bytes} primary key,
      binding_hash ${bytes} not null,
      provider text not null,
      nonce text not null,
      code_verifier text not null,
      return_to text not null,
      remember bigint not null,
      link bigint not null,
      user_id ${key} references users (id) on delete cascade,
      session_id text,
      loopback_port bigint,
      created_at bigint not null,
      expires_at bigint not null
    )`,
    'create index oauth_transactions_user on oauth_transactions (user_id)',
    'create index oauth_transactions_expiry on oauth_transactions (expires_at)',
  ]
}

// The number of rows belongs to a text that is never edited, so it is written out.
const CHANGES = [
  'create table changes (bucket bigint primary key, n bigint not null, ended bigint not null)',
  `insert into changes (bucket, n, ended) values ${Array.from({ length: 256 }, (_, bucket) => `(${bucket}, 0, 0)`).join(', ')}`,
]

/**
 * What is left to apply, and what only a newer program knows, given what a database says was applied.
 * @throws TypeError when the database holds another text under a number than this program
 */
export function compareSchema(
  known: readonly Migration[],
  applied: ReadonlyMap<number, string>,
): { pending: Migration[]; newer: number[] } {
  for (const { version, name, checksum } of known) {
    if ((applied.get(version) ?? checksum) !== checksum)
      throw new TypeError(`migration ${version} (${name}) was applied with another text; restore the database or the program`)
  }
  const versions = new Set(known.map(({ version }) => version))
  return {
    pending: known.filter(({ version }) => !applied.has(version)),
    newer: [...applied.keys()].filter((version) => !versions.has(version)).toSorted((a, b) => a - b),
  }
}

/** For an engine that one program owns. @throws TypeError when a newer program was here */
export function requireNotNewer(newer: readonly number[]): void {
  if (newer.length === 0) return
  throw new TypeError(`the database has schema version ${newer.at(-1)}, newer than this program knows; upgrade trpc-login`)
}

/** The tables that these make. */
export function tablesOf(known: readonly Migration[]): string[] {
  return known.flatMap(({ statements }) => statements.flatMap((statement) => /^create table (\w+)/.exec(statement)?.[1] ?? []))
}

/** @throws TypeError when a table of another program has the name of one that is to be made */
export function requireNoForeign(pending: readonly Migration[], existing: ReadonlySet<string>): void {
  const foreign = tablesOf(pending).find((name) => existing.has(name))
  if (foreign === undefined) return
  throw new TypeError(`the database has a table ${foreign} that is not ours; name a database of its own with TRPC_LOGIN_DATABASE_URL`)
}
