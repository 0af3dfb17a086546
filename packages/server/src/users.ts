import type { AttributeRules } from './attributes.ts'
import { type Act, type Audit, SYSTEM } from './audit.ts'
import { AuthError } from './errors.ts'
import { canonicalEmail, usernameKey } from './identifiers.ts'
import type { Log } from './log.ts'
import type { Passwords } from './passwords.ts'
import { nameTaken, type Sessions } from './sessions.ts'
import type { Attributes, AuditRecord, AuditWrite, SessionRecord, UserRecord, UserStore } from './storage/storage.ts'
import type { Throttle } from './throttle.ts'
import { hashToken, newId, newToken } from './tokens.ts'
import type { UserRules } from './user-rules.ts'

/** A user as callers see one. */
export interface User<TAttributes = Attributes> {
  readonly id: string
  readonly username: string
  readonly name: string | null
  readonly email: string | null
  readonly emailVerified: boolean
  readonly roles: readonly string[]
  readonly createdAt: Date
  /** The application's own, where `createAuth` got a schema for them; absent for users made without. */
  readonly attributes?: TAttributes
}

/** A user as administrators see one. */
export interface UserRow extends User {
  readonly disabledAt: Date | null
  readonly lastLoginAt: Date | null
}

/** What an account is made of. */
export interface NewUser {
  readonly username: string
  /** Without one the account cannot sign in by password. */
  readonly password?: string | undefined
  readonly name?: string | undefined
  readonly email?: string | undefined
  readonly emailVerified?: boolean | undefined
  readonly roles?: readonly string[] | undefined
  /** Checked by the schema given to `createAuth`. */
  readonly attributes?: Attributes | undefined
}

export type Users = ReturnType<typeof createUsers>

export function createUsers(deps: {
  store: UserStore
  audit: Audit
  passwords: Passwords
  throttle: Throttle
  now: () => number
  rules: UserRules
  attributes: AttributeRules
  refusalOf: Sessions['refusalOf']
  log: Log
}) {
  const { store, audit, passwords, throttle, now, rules, attributes, refusalOf, log } = deps

  /** Makes an account. @throws `conflict` when the username is taken, `invalid_input`, `weak_password`, `overloaded` */
  async function create(input: NewUser, by: Act = SYSTEM): Promise<UserRecord> {
    const { user, entry } = await prepare(input, by)
    const created = await store.create(user, entry)
    if (created === 'refused') throw await refusalOf(by)
    if (!created) throw nameTaken()
    log.info({ userId: user.id }, 'user_created')
    return user
  }

  /** Makes an account for a stranger. @throws `rate_limited`, and what `create` throws */
  async function register(input: NewUser, address: string | null): Promise<UserRecord> {
    passwords.requireCapacity()
    return throttle.signUp(address, () => create(input, { actorId: null, address }))
  }

  /** The same together with what `start` makes of it, such as a session: both, or neither. @throws what `register` throws */
  async function signUp<T>(
    input: NewUser,
    address: string | null,
    start: (user: UserRecord, created: AuditRecord) => Promise<T>,
  ): Promise<T> {
    passwords.requireCapacity()
    return throttle.signUp(address, async () => {
      const { user, entry } = await prepare(input, { actorId: null, address })
      const begun = await start(user, entry)
      log.info({ userId: user.id }, 'user_created')
      return begun
    })
  }

  async function prepare(input: NewUser, by: Act): Promise<{ user: UserRecord; entry: AuditWrite }> {
    const checked = rules.newUser(input)
    const { username, email = null, password } = checked
    const passwordHash = password === undefined ? null : await passwords.hashNew(password, { username, email })
    const user = newUserRecord(checked, { at: now(), passwordHash, attributes })
    return { user, entry: audit.entry('user_created', by, user.id, { username, roles: user.roles }) }
  }

  /**
   * The user whom these credentials belong to.
   * @throws `invalid_credentials`, the same and after the same work for every cause; `rate_limited`, alike for accounts that do not exist
   */
  async function authenticate(identifier: string, password: string, address: string | null): Promise<UserRecord> {
    passwords.requireCapacity()
    const user = await findByIdentifier(identifier)
    const account = { key: user?.id ?? nameOfNobody(identifier), exists: user !== null }
    return throttle.attempt({ account, address }, async (locked) => {
      const matches = await passwords.verify(password, locked ? null : (user?.passwordHash ?? null))
      if (user === null || !matches || user.disabledAt !== null) {
        log.warn({ userId: user?.id ?? null, locked }, 'authn_login_fail')
        await audit.append('authn_login_fail', { actorId: null, address }, user?.id ?? null, locked ? { locked } : {})
        throw new AuthError('invalid_credentials')
      }
      log.info({ userId: user.id }, 'authn_login_success')
      await rehashIfOutdated(user, password)
      return user
    })
  }

  async function findByIdentifier(typed: string): Promise<UserRecord | null> {
    const identifier = typed.trim()
    if (!identifier.includes('@')) return store.findByUsernameKey(usernameKey(identifier))
    const email = canonicalEmail(identifier)
    return email === null ? null : store.findByVerifiedEmail(email)
  }

  async function rehashIfOutdated(user: UserRecord, password: string): Promise<void> {
    if (user.passwordHash === null || !passwords.isOutdated(user.passwordHash)) return
    await store.rehash(user.id, { from: user.passwordHash, to: await passwords.hash(password) })
  }

  /** @throws `invalid_credentials` when the password is not this user's, `rate_limited` */
  async function requirePassword(user: UserRecord, password: string, address: string | null): Promise<void> {
    passwords.requireCapacity()
    // Apart from failed logins: whoever guesses from outside must not keep the owner from what a session allows.
    const account = { key: `session:${user.id}`, exists: true }
    await throttle.attempt({ account, address }, async (locked) => {
      if (await passwords.verify(password, locked ? null : user.passwordHash)) return
      log.warn({ userId: user.id, locked }, 'authn_login_fail')
      await audit.append('authn_login_fail', { actorId: user.id, address }, user.id, { reauthentication: true })
      throw new AuthError('invalid_credentials')
    })
  }

  /**
   * Replaces the password of someone who has just proved who they are, and ends every session but the given one, which gets a new
   * token. @throws `weak_password`, `conflict` when another change came first
   */
  async function changePassword(user: UserRecord, session: SessionRecord, newPassword: string, by: Act) {
    const token = newToken()
    const passwordHash = await passwords.hashNew(newPassword, user)
    const keep = { sessionId: session.id, from: session.tokenHash, to: hashToken(token) }
    const at = now()
    const entry = audit.entry('authn_password_change', by, user.id)
    const changed = await store.setPassword(user.id, { epoch: user.epoch, passwordHash, now: at, keep }, entry)
    if (changed === 'refused') throw await refusalOf(by)
    if (!changed) throw new AuthError('conflict', { message: 'The account was changed by another call; try again' })
    log.info({ userId: user.id }, 'authn_password_change')
    return { token, session: { ...session, tokenHash: keep.to, userEpoch: user.epoch + 1, authenticatedAt: at } }
  }

  return {
    create,
    register,
    signUp,
    authenticate,
    requirePassword,
    changePassword,
    /** `null` when there is no such user. */
    find: store.findById,
    /** By username, compared after folding; `null` when there is none. */
    findByUsername: (username: string) => store.findByUsernameKey(usernameKey(username)),
    /** A user's own name. @throws `not_found`, `invalid_input` */
    async setName(id: string, given: string | null, by: Act = SYSTEM): Promise<UserRecord> {
      const { name } = rules.change({ name: given })
      const before = (await store.findById(id))?.name ?? null
      const entry = audit.entry('user_updated', by, id, { before: { name: before }, after: { name } })
      const user = await store.update(id, { name }, name === before ? undefined : entry)
      if (user === 'refused') throw await refusalOf(by)
      if (user === null || typeof user === 'string') throw new AuthError('not_found')
      return user
    },
  }
}

/** A user as one begins. @throws `invalid_input` for attributes that the application's schema refuses */
export function newUserRecord(
  input: Omit<NewUser, 'password'>,
  { at, passwordHash, attributes }: { at: number; passwordHash: string | null; attributes: AttributeRules },
): UserRecord {
  const email = input.email ?? null
  return {
    id: newId(at),
    username: input.username,
    usernameKey: usernameKey(input.username),
    name: input.name ?? null,
    email,
    emailVerifiedAt: email !== null && input.emailVerified === true ? at : null,
    roles: [...new Set(input.roles ?? [])],
    passwordHash,
    epoch: 0,
    createdAt: at,
    disabledAt: null,
    lastLoginAt: null,
    attributes: attributes.parse(input.attributes ?? {}, input.attributes !== undefined),
  }
}

/** Bounded and free of what was typed: a secret in the wrong field must not reach the store. */
function nameOfNobody(identifier: string): string {
  return `nobody:${Buffer.from(hashToken(usernameKey(identifier.trim()))).toString('base64url')}`
}

export function toUser(record: UserRecord): User {
  return {
    id: record.id,
    username: record.username,
    name: record.name,
    email: record.email,
    emailVerified: record.emailVerifiedAt !== null,
    roles: record.roles,
    createdAt: new Date(record.createdAt),
    ...(record.attributes === null ? {} : { attributes: record.attributes }),
  }
}

export function toUserRow(record: UserRecord): UserRow {
  return {
    ...toUser(record),
    disabledAt: record.disabledAt === null ? null : new Date(record.disabledAt),
    lastLoginAt: record.lastLoginAt === null ? null : new Date(record.lastLoginAt),
  }
}
