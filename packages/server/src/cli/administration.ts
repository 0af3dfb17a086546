import type { Auth } from '../auth.ts'
import { AuthError } from '../errors.ts'
import type { UserRecord } from '../storage/storage.ts'
import { toUserRow, type UserRow } from '../users.ts'
import { loadConfig } from './config.ts'
import { withAuth } from './open.ts'
import { print, say, UsageError, visible } from './output.ts'
import { requireKnownRoles } from './roles.ts'

interface Json {
  json?: boolean
}

interface Page extends Json {
  limit: string
  cursor?: string
}

const ID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const LEVELS = '▁▂▃▄▅▆▇█'
const DAYS = 30

export async function listUsers(options: Page & { search?: string }): Promise<void> {
  await withAuth(loadConfig(), async ({ users }) => {
    const page = await users.list({ ...pageOf(options), search: options.search })
    print(page, options, () => [...table([USER_HEAD, ...page.items.map(columnsOf)]), ...more(page.nextCursor)])
  })
}

export async function showUser(name: string, options: Json): Promise<void> {
  await withUser(name, async (_auth, user) => printUser(user, options))
}

export async function setRoles(name: string, roles: string[], options: Json): Promise<void> {
  requireKnownRoles(loadConfig(), roles)
  await withUser(name, async ({ users }, { id }) => printUser(await users.update(id, { roles }), options))
}

export async function disableUser(name: string, options: Json): Promise<void> {
  await withUser(name, async ({ users }, { id }) => printUser(await users.disable(id), options))
}

export async function enableUser(name: string, options: Json): Promise<void> {
  await withUser(name, async ({ users }, { id }) => printUser(await users.enable(id), options))
}

export async function deleteUser(name: string, options: Json): Promise<void> {
  await withUser(name, async ({ users }, { id, username }) => {
    await users.delete(id)
    print({ ok: true, id }, options, () => [`deleted ${username} (${id})`])
  })
}

export async function resetPassword(name: string, options: Json): Promise<void> {
  await withUser(name, async ({ users }, { id }) => {
    const reset = await users.startPasswordReset(id)
    print(reset, options, () => [reset.url])
    say(`whoever has this link sets the password, once, until ${reset.expiresAt.toISOString()}`)
  })
}

export async function listSessions(name: string, options: Json): Promise<void> {
  await withUser(name, async ({ sessions }, { id }) => {
    const list = await sessions.list(id)
    const rows = list.map((session) => [
      session.id,
      session.lastSeenAt.toISOString(),
      session.expiresAt.toISOString(),
      session.ip ?? '-',
      session.userAgent ?? '-',
    ])
    print(list, options, () => table([['id', 'last seen', 'expires', 'address', 'agent'], ...rows]))
  })
}

export async function revokeSessions(
  name: string | undefined,
  session: string | undefined,
  options: Json & { all?: boolean },
): Promise<void> {
  if ((name === undefined) !== (options.all === true)) throw new UsageError('name a user, or pass --all for the sessions of everyone')
  await withAuth(loadConfig(), async (auth) => {
    const user = name === undefined ? null : await find(auth, name)
    if (user !== null && session !== undefined) await auth.sessions.revoke(user.id, session)
    const revoked = session === undefined ? await auth.sessions.revokeAll(user?.id ?? null) : 1
    print({ revoked }, options, () => [`ended ${revoked} ${revoked === 1 ? 'session' : 'sessions'}`])
  })
}

export async function listAudit(options: Page & { user?: string; type?: string }): Promise<void> {
  await withAuth(loadConfig(), async (auth) => {
    const userId = options.user === undefined ? undefined : (await find(auth, options.user)).id
    const page = await auth.audit.list({ ...pageOf(options), userId, type: options.type })
    const signIns = await auth.audit.perDay('authn_login_success', DAYS)
    const failures = await auth.audit.perDay('authn_login_fail', DAYS)
    const rows = page.items.map(({ at, type, actorId, subjectId, address, detail }) => [
      at.toISOString(),
      type,
      actorId ?? '-',
      subjectId ?? '-',
      address ?? '-',
      JSON.stringify(detail),
    ])
    print({ ...page, days: { signIns, failures } }, options, () => [
      `sign-ins ${sparkline(signIns)} ${total(signIns)} in ${DAYS} days`,
      `failures ${sparkline(failures)} ${total(failures)}`,
      ...table([['at', 'type', 'actor', 'subject', 'address', 'detail'], ...rows]),
      ...more(page.nextCursor),
    ])
  })
}

function withUser(name: string, act: (auth: Auth, user: UserRecord) => Promise<void>): Promise<void> {
  return withAuth(loadConfig(), async (auth) => act(auth, await find(auth, name)))
}

/** @throws `not_found`, naming what was looked for */
async function find({ users }: Auth, name: string): Promise<UserRecord> {
  const user = ID.test(name) ? await users.find(name) : await users.findByUsername(name)
  if (user === null) throw new AuthError('not_found', { message: `no user has the ${ID.test(name) ? 'id' : 'username'} ${name}` })
  return user
}

function pageOf({ limit, cursor }: Page): { limit: number; cursor: string | undefined } {
  if (!/^\d{1,3}$/.test(limit) || Number(limit) < 1 || Number(limit) > 100) throw new UsageError(`--limit must be 1 to 100, got ${limit}`)
  return { limit: Number(limit), cursor }
}

function printUser(record: UserRecord, options: Json): void {
  const user = toUserRow(record)
  print(user, options, () =>
    Object.entries(user).map(([key, value]: [string, UserRow[keyof UserRow]]) => `${key.padEnd(14)}${shown(value)}`),
  )
}

function isList(value: unknown): value is readonly string[] {
  return Array.isArray(value)
}

function shown(value: UserRow[keyof UserRow]): string {
  if (value === null) return '-'
  if (value instanceof Date) return value.toISOString()
  if (isList(value)) return value.join(' ') || '-'
  return typeof value === 'object' ? JSON.stringify(value) : String(value)
}

const USER_HEAD = ['username', 'id', 'email', 'roles', 'last sign-in', 'state']

function columnsOf(user: UserRow): string[] {
  const state = user.disabledAt === null ? '' : 'disabled'
  return [user.username, user.id, user.email ?? '-', user.roles.join(',') || '-', user.lastLoginAt?.toISOString() ?? '-', state]
}

function table(rows: readonly (readonly string[])[]): string[] {
  const shown = rows.map((row) => row.map(visible))
  const widths = (shown[0] ?? []).map((_, column) => Math.max(...shown.map((row) => (row[column] ?? '').length)))
  return shown.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function more(cursor: string | null): string[] {
  return cursor === null ? [] : [`more with --cursor ${cursor}`]
}

function sparkline(counts: readonly number[]): string {
  const most = Math.max(1, ...counts)
  return counts.map((count) => (count === 0 ? ' ' : (LEVELS[Math.ceil((count / most) * LEVELS.length) - 1] ?? ''))).join('')
}

function total(counts: readonly number[]): number {
  return counts.reduce((sum, count) => sum + count, 0)
}
