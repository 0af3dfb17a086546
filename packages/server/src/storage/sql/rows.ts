import type { SessionRow, UserRow } from '../schema.ts'
import type { Attributes, SessionRecord, UserRecord } from '../storage.ts'
import type { SessionAndUserRow } from './engine.ts'

export const USER_COLUMNS = [
  'id',
  'username',
  'username_key',
  'name',
  'email',
  'email_verified_at',
  'roles',
  'password_hash',
  'epoch',
  'created_at',
  'disabled_at',
  'last_login_at',
  'attributes',
] as const satisfies (keyof UserRow)[]

export const SESSION_COLUMNS = [
  'id',
  'user_id',
  'user_epoch',
  'token_hash',
  'created_at',
  'last_seen_at',
  'expires_at',
  'absolute_expires_at',
  'authenticated_at',
  'remembered',
  'user_agent',
  'ip',
  'ended_at',
] as const satisfies (keyof SessionRow)[]

export function toUser(row: UserRow): UserRecord {
  return {
    id: row.id,
    username: row.username,
    usernameKey: row.username_key,
    name: row.name,
    email: row.email,
    emailVerifiedAt: row.email_verified_at,
    roles: JSON.parse(row.roles) as string[],
    passwordHash: row.password_hash,
    epoch: row.epoch,
    createdAt: row.created_at,
    disabledAt: row.disabled_at,
    lastLoginAt: row.last_login_at,
    attributes: row.attributes === null ? null : (JSON.parse(row.attributes) as Attributes),
  }
}

export function toUserOrNull(row: UserRow | undefined): UserRecord | null {
  return row === undefined ? null : toUser(row)
}

export function fromUser(user: UserRecord): UserRow {
  return {
    id: user.id,
    username: user.username,
    username_key: user.usernameKey,
    name: user.name,
    email: user.email,
    email_verified_at: user.emailVerifiedAt,
    roles: JSON.stringify(user.roles),
    password_hash: user.passwordHash,
    epoch: user.epoch,
    created_at: user.createdAt,
    disabled_at: user.disabledAt,
    last_login_at: user.lastLoginAt,
    attributes: user.attributes === null ? null : JSON.stringify(user.attributes),
  }
}

function joinedUser(row: SessionAndUserRow): UserRow {
  return {
    id: row.u_id,
    username: row.u_username,
    username_key: row.u_username_key,
    name: row.u_name,
    email: row.u_email,
    email_verified_at: row.u_email_verified_at,
    roles: row.u_roles,
    password_hash: row.u_password_hash,
    epoch: row.u_epoch,
    created_at: row.u_created_at,
    disabled_at: row.u_disabled_at,
    last_login_at: row.u_last_login_at,
    attributes: row.u_attributes,
  }
}

export function toSessionAndUser(row: SessionAndUserRow): { session: SessionRecord; user: UserRecord } {
  return { session: toSession(row), user: toUser(joinedUser(row)) }
}

export function toSession(row: SessionRow): SessionRecord {
  return {
    id: row.id,
    userId: row.user_id,
    userEpoch: row.user_epoch,
    tokenHash: row.token_hash,
    createdAt: row.created_at,
    lastSeenAt: row.last_seen_at,
    expiresAt: row.expires_at,
    absoluteExpiresAt: row.absolute_expires_at,
    authenticatedAt: row.authenticated_at,
    remembered: row.remembered === 1,
    userAgent: row.user_agent,
    ip: row.ip,
    endedAt: row.ended_at,
  }
}

export function fromSession(session: SessionRecord): SessionRow {
  return {
    id: session.id,
    user_id: session.userId,
    user_epoch: session.userEpoch,
    token_hash: session.tokenHash,
    created_at: session.createdAt,
    last_seen_at: session.lastSeenAt,
    expires_at: session.expiresAt,
    absolute_expires_at: session.absoluteExpiresAt,
    authenticated_at: session.authenticatedAt,
    remembered: session.remembered ? 1 : 0,
    user_agent: session.userAgent,
    ip: session.ip,
    ended_at: session.endedAt,
  }
}
