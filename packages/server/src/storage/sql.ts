import { type ExpressionBuilder, type Kysely, type Selectable, sql, type Transaction } from 'kysely'
import { IS_ADMIN, type Schema, type SessionRow, type UserRow } from './schema.ts'
import type { AttemptStore, Attributes, AuditRecord, AuditStore, SessionRecord, SessionStore, UserRecord, UserStore } from './storage.ts'

/** What the SQL stores need of an engine. */
export interface SqlEngine {
  /** Runs one read or a self-contained write. */
  query<T>(run: (db: Kysely<Schema>) => Promise<T>): Promise<T>
  /** Runs a write transaction, again where the engine asks for it. Nothing but its argument may be used inside. */
  transaction<T>(run: (trx: Transaction<Schema>) => Promise<T>): Promise<T>
  /** The prepared read behind every guarded call. */
  findSession(tokenHash: Uint8Array): Promise<SessionAndUserRow | null>
}

export type SessionAndUserRow = Selectable<SessionRow> & { [K in keyof UserRow as `u_${K}`]: UserRow[K] }

export function createUserStore({ query, transaction }: SqlEngine): UserStore {
  const findUser = (column: 'id' | 'username_key', value: string) =>
    query(async (db) => toUserOrNull(await db.selectFrom('users').selectAll().where(column, '=', value).executeTakeFirst()))

  return {
    create: (user, entry) =>
      transaction(async (trx) => {
        const result = await trx
          .insertInto('users')
          .values(fromUser(user))
          .onConflict((conflict) => conflict.doNothing())
          .executeTakeFirst()
        if (result.numInsertedOrUpdatedRows !== 1n) return false
        await note(trx, entry)
        return true
      }),
    createMany: (users, entry) =>
      transaction(async (trx) => {
        const created = new Set<string>()
        for (const user of users) {
          const result = await trx
            .insertInto('users')
            .values(fromUser(user))
            .onConflict((conflict) => conflict.doNothing())
            .executeTakeFirst()
          if (result.numInsertedOrUpdatedRows === 1n) created.add(user.id)
        }
        if (created.size > 0) await note(trx, entry)
        return created
      }),
    findById: (id) => findUser('id', id),
    findByUsernameKey: (key) => findUser('username_key', key),
    findByVerifiedEmail: (email) =>
      query(async (db) =>
        toUserOrNull(
          await db.selectFrom('users').selectAll().where('email', '=', email).where('email_verified_at', 'is not', null).executeTakeFirst(),
        ),
      ),
    update: (id, change, entry) =>
      transaction(async (trx) => {
        const before = await trx.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
        if (before === undefined) return null
        const { name, email, emailVerifiedAt, roles, attributes } = change
        const after: UserRow = {
          ...before,
          ...(name === undefined ? {} : { name }),
          ...(email === undefined ? {} : { email, email_verified_at: null }),
          ...(emailVerifiedAt === undefined ? {} : { email_verified_at: emailVerifiedAt }),
          ...(roles === undefined ? {} : { roles: JSON.stringify(roles) }),
          ...(attributes === undefined ? {} : { attributes: attributes === null ? null : JSON.stringify(attributes) }),
        }
        if (after.email !== null && after.email_verified_at !== null) {
          const owner = await trx
            .selectFrom('users')
            .select('id')
            .where('email', '=', after.email)
            .where('email_verified_at', 'is not', null)
            .executeTakeFirst()
          if (owner !== undefined && owner.id !== id) return 'taken'
        }
        if (after.roles !== before.roles && !isAdmin(after) && (await isLastAdmin(trx, before))) return 'last_admin'
        await trx.updateTable('users').set(after).where('id', '=', id).execute()
        if (after.email !== before.email) await trx.deleteFrom('resets').where('user_id', '=', id).execute()
        await note(trx, entry)
        return toUser(after)
      }),
    rehash: (id, { from, to }) =>
      query(async (db) => {
        const result = await db
          .updateTable('users')
          .set({ password_hash: to })
          .where('id', '=', id)
          .where('password_hash', '=', from)
          .executeTakeFirst()
        return result.numUpdatedRows === 1n
      }),
    setPassword: (id, { epoch, passwordHash, now, keep }, entry) =>
      transaction(async (trx) => {
        const changed = await trx
          .updateTable('users')
          .set({ password_hash: passwordHash, epoch: epoch + 1 })
          .where('id', '=', id)
          .where('epoch', '=', epoch)
          .$if(keep !== null, (update) =>
            update.where((where) => where.exists(liveSession(trx, keep?.sessionId ?? '', keep?.from ?? EMPTY).select('id'))),
          )
          .executeTakeFirst()
        if (changed.numUpdatedRows === 0n) return false
        await endSessions(trx, id, keep?.sessionId ?? null, now)
        await trx.deleteFrom('resets').where('user_id', '=', id).execute()
        await note(trx, entry)
        if (keep === null) return true
        await trx
          .updateTable('sessions')
          .set({ token_hash: keep.to, user_epoch: epoch + 1, authenticated_at: now })
          .where('id', '=', keep.sessionId)
          .execute()
        return true
      }),
    setDisabledAt: (id, disabledAt, now, entry) =>
      transaction(async (trx) => {
        const before = await trx.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
        if (before === undefined) return null
        if (disabledAt !== null && (await isLastAdmin(trx, before))) return 'last_admin'
        const after = { ...before, disabled_at: disabledAt, epoch: before.epoch + 1 }
        await trx.updateTable('users').set(after).where('id', '=', id).execute()
        await endSessions(trx, id, null, now)
        await trx.deleteFrom('resets').where('user_id', '=', id).execute()
        await note(trx, entry)
        return toUser(after)
      }),
    delete: (id, entry) =>
      transaction(async (trx) => {
        const user = await trx.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
        if (user === undefined) return false
        if (await isLastAdmin(trx, user)) return 'last_admin'
        await trx.deleteFrom('users').where('id', '=', id).execute()
        await note(trx, entry)
        await trx.updateTable('audit').set({ address: null }).where('actor_id', '=', id).execute()
        await trx.updateTable('audit').set({ address: null }).where('subject_id', '=', id).where('actor_id', 'is', null).execute()
        return true
      }),
    startReset: (reset, entry) =>
      transaction(async (trx) => {
        const user = await trx
          .selectFrom('users')
          .select('id')
          .where('id', '=', reset.userId)
          .where('disabled_at', 'is', null)
          .executeTakeFirst()
        if (user === undefined) return false
        await trx.deleteFrom('resets').where('user_id', '=', reset.userId).execute()
        await trx.insertInto('resets').values({ token_hash: reset.tokenHash, user_id: reset.userId, expires_at: reset.expiresAt }).execute()
        await note(trx, entry)
        return true
      }),
    findReset: (tokenHash, now) =>
      query(async (db) =>
        toUserOrNull(
          await db
            .selectFrom('resets')
            .innerJoin('users', 'users.id', 'resets.user_id')
            .selectAll('users')
            .where('token_hash', '=', tokenHash)
            .where('expires_at', '>', now)
            .executeTakeFirst(),
        ),
      ),
    finishReset: (tokenHash, { passwordHash, now }, entry) =>
      transaction(async (trx) => {
        const used = await trx
          .deleteFrom('resets')
          .where('token_hash', '=', tokenHash)
          .where('expires_at', '>', now)
          .returning('user_id')
          .executeTakeFirst()
        if (used === undefined) return false
        await trx
          .updateTable('users')
          .set((set) => ({ password_hash: passwordHash, epoch: set('epoch', '+', 1) }))
          .where('id', '=', used.user_id)
          .execute()
        await endSessions(trx, used.user_id, null, now)
        await note(trx, entry)
        return true
      }),
    list: ({ search, limit, after }) =>
      query(async (db) => {
        const users = db.selectFrom('users').selectAll().limit(limit)
        const rows = await (search === null
          ? users.$if(after !== null, (select) => select.where('id', '<', after?.id ?? '')).orderBy('id', 'desc')
          : search.includes('@')
            ? users
                .where(beginning('email', search))
                .$if(after !== null, (select) => select.where(sql<boolean>`(email, id) > (${after?.email ?? ''}, ${after?.id ?? ''})`))
                .orderBy('email')
                .orderBy('id')
            : users
                .where(beginning('username_key', search))
                .$if(after !== null, (select) => select.where('username_key', '>', after?.usernameKey ?? ''))
                .orderBy('username_key')
        ).execute()
        return rows.map(toUser)
      }),
  }
}

export function createAuditStore({ query }: SqlEngine): AuditStore {
  return {
    append: (entry) => query((db) => note(db, entry)),
    list: ({ userId, type, limit, before }) =>
      query(async (db) => {
        const rows = await db
          .selectFrom('audit')
          .selectAll()
          .$if(userId !== null, (select) => select.where((eb) => eb.or([eb('actor_id', '=', userId), eb('subject_id', '=', userId)])))
          .$if(type !== null, (select) => select.where('type', '=', type ?? ''))
          .$if(before !== null, (select) => select.where('id', '<', before ?? ''))
          .orderBy('id', 'desc')
          .limit(limit)
          .execute()
        return rows.map((row) => ({
          id: row.id,
          at: row.at,
          type: row.type,
          actorId: row.actor_id,
          subjectId: row.subject_id,
          address: row.address,
          detail: JSON.parse(row.detail) as Record<string, unknown>,
        }))
      }),
    count: (type, from, ms) =>
      query(async (db) => {
        const rows = await db
          .selectFrom('audit')
          .select([sql<number>`(at - ${from}) / ${ms}`.as('span'), (eb) => eb.fn.countAll<number>().as('entries')])
          .where('type', '=', type)
          .where('at', '>=', from)
          .groupBy('span')
          .execute()
        const counts = new Map<number, number>()
        for (const { span, entries } of rows) {
          const index = Math.floor(span)
          counts.set(index, (counts.get(index) ?? 0) + entries)
        }
        return counts
      }),
    purge: (before, limit) =>
      query(async (db) => {
        const due = db.selectFrom('audit').select('id').where('at', '<', before).orderBy('id').limit(limit)
        return Number((await db.deleteFrom('audit').where('id', 'in', due).executeTakeFirst()).numDeletedRows)
      }),
  }
}

async function note(db: Kysely<Schema>, entry: AuditRecord | undefined): Promise<void> {
  if (entry === undefined) return
  const { id, at, type, actorId, subjectId, address, detail } = entry
  const row = { id, at, type, actor_id: actorId, subject_id: subjectId, address, detail: JSON.stringify(detail) }
  await db.insertInto('audit').values(row).execute()
}

function isAdmin(row: UserRow): boolean {
  return row.disabled_at === null && (JSON.parse(row.roles) as string[]).includes('admin')
}

async function isLastAdmin(trx: Transaction<Schema>, row: UserRow): Promise<boolean> {
  if (!isAdmin(row)) return false
  const other = await trx
    .selectFrom('users')
    .select('id')
    .where(sql.raw<boolean>(IS_ADMIN))
    .where('id', '!=', row.id)
    .limit(1)
    .executeTakeFirst()
  return other === undefined
}

export function createSessionStore({ query, transaction, findSession }: SqlEngine): SessionStore {
  return {
    start: (session, { replaces, maxPerUser, entry }) =>
      transaction(async (trx) => {
        const user = await trx
          .updateTable('users')
          .set({ last_login_at: session.createdAt })
          .where('id', '=', session.userId)
          .where('epoch', '=', session.userEpoch)
          .where('disabled_at', 'is', null)
          .executeTakeFirst()
        if (user.numUpdatedRows === 0n) return false
        if (replaces !== null) await trx.deleteFrom('sessions').where('token_hash', '=', replaces).execute()
        await trx.insertInto('sessions').values(fromSession(session)).execute()
        await endBeyond(trx, session, maxPerUser)
        await note(trx, entry)
        return true
      }),
    find: async (tokenHash) => {
      const row = await findSession(tokenHash)
      return row === null ? null : toSessionAndUser(row)
    },
    findByIds: (ids) =>
      query(async (db) => {
        const rows = await Promise.all(inParts(ids).map((part) => sessionsAndUsers(db).where('sessions.id', 'in', part).execute()))
        return rows.flat().map(toSessionAndUser)
      }),
    extend: (uses, now) =>
      transaction(async (trx) => {
        for (const { id, lastSeenAt, expiresAt } of uses) {
          await trx
            .updateTable('sessions')
            .set({ last_seen_at: lastSeenAt, expires_at: expiresAt })
            .where('id', '=', id)
            .where('ended_at', 'is', null)
            .where('expires_at', '>', now)
            .where('last_seen_at', '<', lastSeenAt)
            .execute()
        }
      }),
    rotate: (id, { from, to, authenticatedAt }) =>
      query(async (db) => {
        const result = await db
          .updateTable('sessions')
          .set({ token_hash: to, authenticated_at: authenticatedAt })
          .where('id', '=', id)
          .where('token_hash', '=', from)
          .where('ended_at', 'is', null)
          .executeTakeFirst()
        return result.numUpdatedRows === 1n
      }),
    end: (id, userId, now, entry) =>
      transaction(async (trx) => {
        const result = await trx
          .updateTable('sessions')
          .set(ended(now))
          .where('id', '=', id)
          .where('user_id', '=', userId)
          .where('ended_at', 'is', null)
          .where('expires_at', '>', now)
          .executeTakeFirst()
        if (result.numUpdatedRows !== 1n) return false
        await note(trx, entry)
        return true
      }),
    endAll: (userId, except, now, entry) =>
      transaction(async (trx) => {
        const count = await endSessions(trx, userId, except, now)
        if (count > 0) await note(trx, entry)
        return count
      }),
    list: (userId, now) =>
      query(async (db) => {
        const rows = await db
          .selectFrom('sessions')
          .selectAll()
          .where('user_id', '=', userId)
          .where('ended_at', 'is', null)
          .where('expires_at', '>', now)
          .orderBy('created_at', 'desc')
          .orderBy('id', 'desc')
          .execute()
        return rows.map(toSession)
      }),
    purge: (expiredBefore, limit) =>
      query(async (db) => {
        const due = db.selectFrom('sessions').select('id').where('expires_at', '<', expiredBefore).orderBy('expires_at').limit(limit)
        return Number((await db.deleteFrom('sessions').where('id', 'in', due).executeTakeFirst()).numDeletedRows)
      }),
  }
}

export function createAttemptStore({ query, transaction }: SqlEngine): AttemptStore {
  return {
    change: (keys, decide) =>
      transaction(async (trx) => {
        const rows = await trx.selectFrom('attempts').selectAll().where('key', 'in', keys).execute()
        const current = rows.map(
          (row) => [row.key, { count: row.count, blockedUntil: row.blocked_until, expiresAt: row.expires_at }] as const,
        )
        for (const [key, attempts] of decide(new Map(current))) {
          if (attempts === null) {
            await trx.deleteFrom('attempts').where('key', '=', key).execute()
            continue
          }
          const row = { count: attempts.count, blocked_until: attempts.blockedUntil, expires_at: attempts.expiresAt }
          await trx
            .insertInto('attempts')
            .values({ key, ...row })
            .onConflict((conflict) => conflict.column('key').doUpdateSet(row))
            .execute()
        }
      }),
    purge: (expiredBefore, limit) =>
      query(async (db) => {
        const due = db.selectFrom('attempts').select('key').where('expires_at', '<', expiredBefore).orderBy('expires_at').limit(limit)
        return Number((await db.deleteFrom('attempts').where('key', 'in', due).executeTakeFirst()).numDeletedRows)
      }),
  }
}

/** The hot read as SQL; engines prepare it once. */
export function sessionAndUserQuery(db: Kysely<Schema>, tokenHash: Uint8Array) {
  return sessionsAndUsers(db).where('token_hash', '=', tokenHash)
}

function sessionsAndUsers(db: Kysely<Schema>) {
  const userColumns = USER_COLUMNS.map((column) => `users.${column} as u_${column}` as const)
  return db
    .selectFrom('sessions')
    .innerJoin('users', 'users.id', 'sessions.user_id')
    .selectAll('sessions')
    .select(userColumns)
    .$castTo<SessionAndUserRow>()
}

/** Engines bound the number of values in one statement. */
function inParts(ids: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(ids.length / MAX_VALUES) }, (_, part) => ids.slice(part * MAX_VALUES, (part + 1) * MAX_VALUES))
}

const EMPTY = new Uint8Array()
const MAX_VALUES = 500

const USER_COLUMNS = [
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

function liveSession(db: Kysely<Schema>, id: string, tokenHash: Uint8Array) {
  return db.selectFrom('sessions').where('id', '=', id).where('token_hash', '=', tokenHash).where('ended_at', 'is', null)
}

/** Ending brings the expiry forward too, so that one index serves the purge. */
function ended(now: number) {
  return (eb: ExpressionBuilder<Schema, 'sessions'>) => ({
    ended_at: now,
    expires_at: eb.case().when('expires_at', '>', now).then(now).else(eb.ref('expires_at')).end(),
  })
}

async function endSessions(db: Kysely<Schema>, userId: string, except: string | null, now: number): Promise<number> {
  const result = await db
    .updateTable('sessions')
    .set(ended(now))
    .where('user_id', '=', userId)
    .where('ended_at', 'is', null)
    .where('expires_at', '>', now)
    .$if(except !== null, (update) => update.where('id', '!=', except ?? ''))
    .executeTakeFirst()
  return Number(result.numUpdatedRows)
}

async function endBeyond(trx: Transaction<Schema>, { userId, createdAt }: SessionRecord, maxPerUser: number): Promise<void> {
  const live = await trx
    .selectFrom('sessions')
    .select('id')
    .where('user_id', '=', userId)
    .where('ended_at', 'is', null)
    .where('expires_at', '>', createdAt)
    .orderBy('created_at', 'desc')
    .orderBy('id', 'desc')
    .execute()
  const beyond = live.slice(maxPerUser).map(({ id }) => id)
  if (beyond.length > 0) await trx.updateTable('sessions').set(ended(createdAt)).where('id', 'in', beyond).execute()
}

/** A range rather than a pattern, so that an index serves it; U+10FFFF comes after everything that may follow. */
function beginning(column: 'email' | 'username_key', text: string) {
  return sql<boolean>`(${sql.ref(column)} >= ${text} and ${sql.ref(column)} < ${`${text}\u{10ffff}`})`
}

function toUser(row: UserRow): UserRecord {
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

function toUserOrNull(row: UserRow | undefined): UserRecord | null {
  return row === undefined ? null : toUser(row)
}

function fromUser(user: UserRecord): UserRow {
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

function toSessionAndUser(row: SessionAndUserRow): { session: SessionRecord; user: UserRecord } {
  return { session: toSession(row), user: toUser(joinedUser(row)) }
}

function toSession(row: SessionRow): SessionRecord {
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

function fromSession(session: SessionRecord): SessionRow {
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
