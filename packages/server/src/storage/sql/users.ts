import { sql, type Transaction } from 'kysely'
import { IS_ADMIN, type Schema, type UserRow } from '../schema.ts'
import type { UserRecord, UserStore } from '../storage.ts'
import { note } from './audit.ts'
import { createActing } from './authority.ts'
import { inParts, isReferenced, type SqlEngine } from './engine.ts'
import { forget } from './forget.ts'
import { insertUser } from './new-user.ts'
import { fromUser, toUser, toUserOrNull } from './rows.ts'
import { endSessions, liveSession } from './sessions.ts'

const MANY = 100

export function createUserStore(engine: SqlEngine): UserStore {
  const { query, transaction } = engine
  const acting = createActing(engine)
  const findUser = (column: 'id' | 'username_key', value: string) =>
    query(async (db) => toUserOrNull(await db.selectFrom('users').selectAll().where(column, '=', value).executeTakeFirst()))

  return {
    create: (user, entry) =>
      acting(
        entry,
        [],
        async (trx) => {
          if (!(await insertUser(trx, user))) return false
          await note(trx, entry)
          return true
        },
        { lockFirst: true },
      ),
    createMany: (users, entry) =>
      transaction(
        async (trx) => {
          const created = new Set<string>()
          // A statement for each would be a trip to the server for each.
          for (let from = 0; from < users.length; from += MANY) {
            const rows = users.slice(from, from + MANY).map(fromUser)
            const insert = trx.insertInto('users').values(rows)
            const made = await insert
              .onConflict((conflict) => conflict.doNothing())
              .returning('id')
              .execute()
            for (const { id } of made) created.add(id)
          }
          if (created.size > 0) await note(trx, entry)
          const refused = users.filter(({ id }) => !created.has(id))
          const forEmail = await findRefusedForEmail(trx, refused)
          return new Map(users.map(({ id }) => [id, created.has(id) ? 'created' : forEmail.has(id) ? 'email_taken' : 'username_taken']))
        },
        { lockFirst: true },
      ),
    findById: (id) => findUser('id', id),
    findByUsernameKey: (key) => findUser('username_key', key),
    findByVerifiedEmail: (email) =>
      query(async (db) =>
        toUserOrNull(
          await db.selectFrom('users').selectAll().where('email', '=', email).where('email_verified_at', 'is not', null).executeTakeFirst(),
        ),
      ),
    update: (id, change, entry) =>
      acting(entry, [id], async (trx, announce) => {
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
        announce([id], 'ended')
        await note(trx, entry)
        return toUser(after)
      }),
    rehash: (id, { from, to }) =>
      transaction(
        async (trx, announce) => {
          const result = await trx
            .updateTable('users')
            .set({ password_hash: to })
            .where('id', '=', id)
            .where('password_hash', '=', from)
            .executeTakeFirst()
          if (result.numUpdatedRows !== 1n) return false
          announce([id], 'ended')
          return true
        },
        { lockFirst: true },
      ),
    setPassword: (id, { epoch, passwordHash, now, keep }, entry) =>
      acting(
        entry,
        [id],
        async (trx, announce) => {
          const changed = await trx
            .updateTable('users')
            .set({ password_hash: passwordHash, epoch: epoch + 1 })
            .where('id', '=', id)
            .where('epoch', '=', epoch)
            .$if(keep !== null, (update) =>
              update.where((where) =>
                where.exists(
                  liveSession(trx, keep?.sessionId ?? '', keep?.from ?? EMPTY)
                    .where('expires_at', '>', now)
                    .select('id'),
                ),
              ),
            )
            .executeTakeFirst()
          if (changed.numUpdatedRows === 0n) return false
          announce([id], 'ended')
          await endSessions(trx, id, keep?.sessionId ?? null, now)
          await voidPending(trx, id)
          await note(trx, entry)
          if (keep === null) return true
          await trx
            .updateTable('sessions')
            .set({ token_hash: keep.to, user_epoch: epoch + 1, authenticated_at: now })
            .where('id', '=', keep.sessionId)
            .execute()
          return true
        },
        { lockFirst: true },
      ),
    setDisabledAt: (id, disabledAt, now, entry) =>
      acting(entry, [id], async (trx, announce) => {
        const before = await trx.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
        if (before === undefined) return null
        if (disabledAt !== null && (await isLastAdmin(trx, before))) return 'last_admin'
        const after = { ...before, disabled_at: disabledAt, epoch: before.epoch + 1 }
        await trx.updateTable('users').set(after).where('id', '=', id).execute()
        await endSessions(trx, id, null, now)
        await voidPending(trx, id)
        announce([id], 'ended')
        await note(trx, entry)
        return toUser(after)
      }),
    delete: (id, entry) =>
      acting(
        entry,
        [id],
        async (trx, announce) => {
          const user = await trx.selectFrom('users').selectAll().where('id', '=', id).executeTakeFirst()
          if (user === undefined) return false
          if (await isLastAdmin(trx, user)) return 'last_admin'
          await trx.deleteFrom('users').where('id', '=', id).execute()
          announce([id], 'ended')
          await note(trx, entry)
          await forget(trx, user)
          return true
        },
        { mayBeReferenced: true, mayTakeLong: true },
      ).catch((error: unknown) => {
        if (isReferenced(error)) return 'referenced'
        throw error
      }),
    startReset: (reset, entry) =>
      acting(entry, [reset.userId], async (trx) => {
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
      transaction(
        async (trx, announce) => {
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
          await voidPending(trx, used.user_id)
          announce([used.user_id], 'ended')
          await note(trx, entry)
          return true
        },
        { lockFirst: true },
      ),
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

/** Of users that could not be made the ids of those whose username is free, so that it was their address. */
async function findRefusedForEmail(trx: Transaction<Schema>, refused: readonly UserRecord[]): Promise<ReadonlySet<string>> {
  const suspects = refused.filter(({ email, emailVerifiedAt }) => email !== null && emailVerifiedAt !== null)
  const taken = new Set<string>()
  for (const keys of inParts(suspects.map(({ usernameKey }) => usernameKey))) {
    const rows = await trx.selectFrom('users').select('username_key').where('username_key', 'in', keys).execute()
    for (const { username_key: key } of rows) taken.add(key)
  }
  return new Set(suspects.filter(({ usernameKey }) => !taken.has(usernameKey)).map(({ id }) => id))
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

const EMPTY = new Uint8Array()

/** What a user began and nobody may finish any more. */
async function voidPending(trx: Transaction<Schema>, userId: string): Promise<void> {
  await trx.deleteFrom('resets').where('user_id', '=', userId).execute()
  await trx.deleteFrom('oauth_transactions').where('user_id', '=', userId).execute()
}

/** A range rather than a pattern, so that an index serves it; U+10FFFF comes after everything that may follow. */
function beginning(column: 'email' | 'username_key', text: string) {
  return sql<boolean>`(${sql.ref(column)} >= ${text} and ${sql.ref(column)} < ${`${text}\u{10ffff}`})`
}
