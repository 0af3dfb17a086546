import type { AttributeRules } from './attributes.ts'
import { type Act, type Audit, SYSTEM } from './audit.ts'
import { decodeCursor, encodeCursor } from './cursors.ts'
import { AuthError } from './errors.ts'
import { canonicalEmail, usernameKey } from './identifiers.ts'
import type { Log } from './log.ts'
import type { Passwords } from './passwords.ts'
import type { Sessions } from './sessions.ts'
import type { Attributes, UserRecord, UserStore } from './storage/storage.ts'
import type { Throttle } from './throttle.ts'
import { hashToken, isToken, newToken } from './tokens.ts'
import type { UserRules } from './user-rules.ts'
import { toUserRow } from './users.ts'

// NIST and OWASP (Forgot Password) ask for an hour at most.
const RESET_MS = 30 * 60_000

/** What an administrator changes of a user; absent fields stay. */
export interface UserUpdate {
  readonly name?: string | null | undefined
  readonly email?: string | null | undefined
  readonly emailVerified?: boolean | undefined
  readonly roles?: readonly string[] | undefined
  /** All of them anew, checked by the schema given to `createAuth`. */
  readonly attributes?: Attributes | undefined
}

export type UserAdmin = ReturnType<typeof createUserAdmin>

/** What administrators do with users, over tRPC, on the command line and in process. */
export function createUserAdmin(deps: {
  store: UserStore
  audit: Audit
  passwords: Passwords
  throttle: Throttle
  rules: UserRules
  attributes: AttributeRules
  /** The page that sets a new password, at the moment of asking. */
  resetUrl: () => string
  refusalOf: Sessions['refusalOf']
  now: () => number
  log: Log
}) {
  const { store, audit, passwords, throttle, rules, attributes, resetUrl, refusalOf, now, log } = deps

  async function required<T>(result: T, by: Act): Promise<Exclude<T, 'last_admin' | 'referenced' | 'refused'>> {
    if (result === 'refused') throw await refusalOf(by)
    if (result === 'last_admin') throw new AuthError('conflict', { message: 'The last administrator must stay one' })
    if (result === 'referenced')
      throw new AuthError('conflict', { message: 'Rows of the application point to this user; remove them first' })
    return result as Exclude<T, 'last_admin' | 'referenced' | 'refused'>
  }

  /** @throws `not_found` */
  async function get(id: string): Promise<UserRecord> {
    return existing(await store.findById(id))
  }

  /** @throws `not_found`, `invalid_input`, `conflict` for a verified address that is taken and for the last admin */
  async function update(id: string, given: UserUpdate, by: Act = SYSTEM): Promise<UserRecord> {
    const before = await get(id)
    const change = rules.change(given, before.roles)
    const { name, email, emailVerified } = change
    const roles = change.roles === undefined ? undefined : [...new Set(change.roles)]
    const emailVerifiedAt = emailVerified === undefined ? undefined : emailVerified ? now() : null
    const parsed = change.attributes === undefined ? undefined : attributes.parse(change.attributes, true)
    const detail = { before: visible(before, change), after: { ...change, ...(roles === undefined ? {} : { roles }) } }
    const entry = audit.entry(roles === undefined ? 'user_updated' : 'authz_change', by, id, detail)
    const after = await store.update(id, { name, email, emailVerifiedAt, roles, attributes: parsed }, entry)
    if (after === 'taken') throw new AuthError('conflict', { message: 'This address is taken' })
    const user = existing(await required(after, by))
    log.info({ userId: id, actorId: by.actorId }, entry.type)
    return user
  }

  /** Disables (`true`) or enables; disabling ends every session and reset. @throws `not_found`, `conflict` for the last admin */
  async function setDisabled(id: string, disabled: boolean, by: Act): Promise<UserRecord> {
    const type = disabled ? 'user_disabled' : 'user_enabled'
    const user = existing(await required(await store.setDisabledAt(id, disabled ? now() : null, now(), audit.entry(type, by, id)), by))
    log.info({ userId: id, actorId: by.actorId }, type)
    return user
  }

  /**
   * A link with which its holder sets a new password, once and within half an hour; earlier links are void. Hand it over by a way
   * that you trust. @throws `not_found` when there is no such enabled user
   */
  async function startPasswordReset(id: string, by: Act = SYSTEM): Promise<{ url: string; expiresAt: Date }> {
    const token = newToken()
    const expiresAt = now() + RESET_MS
    const started = await store.startReset(
      { tokenHash: hashToken(token), userId: id, expiresAt },
      audit.entry('password_reset_started', by, id),
    )
    if (!(await required(started, by))) throw new AuthError('not_found')
    log.info({ userId: id, actorId: by.actorId }, 'password_reset_started')
    // In the fragment, which browsers send to nobody: neither to a server's log nor as a referrer.
    return { url: `${resetUrl()}#token=${token}`, expiresAt: new Date(expiresAt) }
  }

  /**
   * Sets the password of who holds a reset link, ends every session and forgets failed attempts; it does not sign in.
   * @throws `invalid_input` for a link that is used, void or too old, `weak_password`, `rate_limited`
   */
  async function resetPassword(token: string, newPassword: string, address: string | null): Promise<void> {
    passwords.requireCapacity()
    await throttle.call(address)
    const tokenHash = hashToken(token)
    const user = isToken(token) ? await store.findReset(tokenHash, now()) : null
    if (user === null) throw invalidReset()
    const passwordHash = await passwords.hashNew(newPassword, user)
    const entry = audit.entry('password_reset', { actorId: null, address }, user.id)
    if (!(await store.finishReset(tokenHash, { passwordHash, now: now() }, entry))) throw invalidReset()
    log.info({ userId: user.id }, 'password_reset')
    await throttle.clear(user.id)
    await throttle.clear(`session:${user.id}`)
  }

  /** A page of users: without a search the newest first, with one those whose username, or address, begins so. @throws `invalid_input` */
  async function list(page: { search?: string | undefined; limit?: number | undefined; cursor?: string | undefined } = {}) {
    const { limit = 50, cursor } = page
    const search = foldSearch(page.search)
    const after = cursor === undefined ? null : decodeCursor(cursor, ['id', 'usernameKey', 'email'])
    const users = await store.list({ search, limit, after })
    const last = users.length < limit ? undefined : users.at(-1)
    return {
      items: users.map(toUserRow),
      nextCursor: last === undefined ? null : encodeCursor({ id: last.id, usernameKey: last.usernameKey, email: last.email ?? '' }),
    }
  }

  return {
    get,
    update,
    startPasswordReset,
    resetPassword,
    list,
    disable: (id: string, by: Act = SYSTEM) => setDisabled(id, true, by),
    enable: (id: string, by: Act = SYSTEM) => setDisabled(id, false, by),
    /** Removes the user and all that is theirs. @throws `not_found`, `conflict` for the last admin and for one to whom rows of the application point */
    async delete(id: string, by: Act = SYSTEM): Promise<void> {
      if (!(await required(await store.delete(id, audit.entry('user_deleted', by, id)), by))) throw new AuthError('not_found')
      log.info({ userId: id, actorId: by.actorId }, 'user_deleted')
    },
  }
}

function foldSearch(search: string | undefined): string | null {
  if (search === undefined || search === '') return null
  return search.includes('@') ? (canonicalEmail(search) ?? search.normalize('NFKC').toLowerCase()) : usernameKey(search)
}

/** The fields that a change names, as they were. */
function visible(user: UserRecord, change: UserUpdate): Record<string, unknown> {
  const row: Record<string, unknown> = { ...toUserRow(user) }
  return Object.fromEntries(Object.keys(change).map((key) => [key, row[key]]))
}

function existing(user: UserRecord | null): UserRecord {
  if (user === null) throw new AuthError('not_found')
  return user
}

function invalidReset(): AuthError {
  const message = 'This link was used, replaced or is too old; ask for a new one'
  return new AuthError('invalid_input', { message, issues: [{ path: ['token'], message }] })
}
