import type { ExpressionBuilder, Kysely, Transaction } from 'kysely'
import type { Schema, SessionRow } from '../schema.ts'
import type { SessionRecord, SessionStore } from '../storage.ts'
import { note } from './audit.ts'
import { createActing } from './authority.ts'
import { type FoundRow, inParts, type SessionAndUserRow, type SqlEngine } from './engine.ts'
import { insertUser } from './new-user.ts'
import { fromSession, SESSION_COLUMNS, toSession, toSessionAndUser, USER_COLUMNS } from './rows.ts'

export function createSessionStore(engine: SqlEngine): SessionStore {
  const { query, transaction, findSession } = engine
  const acting = createActing(engine)
  return {
    start: (session, { replaces, maxPerUser, entry, newUser }) =>
      transaction(
        async (trx, announce) => {
          if (newUser !== undefined && !(await insertUser(trx, newUser.user))) return false
          const user = await trx
            .updateTable('users')
            .set({ last_login_at: session.createdAt })
            .where('id', '=', session.userId)
            .where('epoch', '=', session.userEpoch)
            .where('disabled_at', 'is', null)
            .executeTakeFirst()
          if (user.numUpdatedRows === 0n) return false
          if (replaces !== null) announce(await removeByHash(trx, replaces), 'ended')
          await trx.insertInto('sessions').values(fromSession(session)).execute()
          announce([session.userId], (await endBeyond(trx, session, maxPerUser)) > 0 ? 'ended' : 'moved')
          await note(trx, newUser?.entry)
          await note(trx, entry)
          return true
        },
        { lockFirst: true },
      ),
    find: async (tokenHash) => {
      const row = await findSession(tokenHash)
      return row === null ? null : toSessionAndUser(Object.assign(row, { token_hash: tokenHash }))
    },
    findByIds: (ids) =>
      query(async (db) => {
        const found: SessionAndUserRow[] = []
        for (const part of inParts(ids)) found.push(...(await sessionsAndUsers(db).where('sessions.id', 'in', part).execute()))
        return found.map(toSessionAndUser)
      }),
    extend: (uses, now) =>
      transaction(
        async (trx) => {
          // In one order, so that servers which note uses of the same sessions do not wait in a circle.
          for (const { id, lastSeenAt, expiresAt } of uses.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
            await trx
              .updateTable('sessions')
              .set({ last_seen_at: lastSeenAt, expires_at: expiresAt })
              .where('id', '=', id)
              .where('ended_at', 'is', null)
              .where('expires_at', '>', now)
              .where('last_seen_at', '<', lastSeenAt)
              .execute()
          }
        },
        { lockFirst: true, mayBeLost: true },
      ),
    rotate: (id, { from, to, authenticatedAt }, entry) =>
      transaction(
        async (trx, announce) => {
          const rotated = await trx
            .updateTable('sessions')
            .set({ token_hash: to, authenticated_at: authenticatedAt })
            .where('id', '=', id)
            .where('token_hash', '=', from)
            .where('ended_at', 'is', null)
            .where('expires_at', '>', authenticatedAt)
            .returning('user_id')
            .executeTakeFirst()
          if (rotated === undefined) return false
          announce([rotated.user_id], 'ended')
          await note(trx, entry)
          return true
        },
        { lockFirst: true },
      ),
    end: (id, userId, now, entry) =>
      acting(
        entry,
        [userId],
        async (trx, announce) => {
          const result = await trx
            .updateTable('sessions')
            .set(ended(now))
            .where('id', '=', id)
            .where('user_id', '=', userId)
            .where('ended_at', 'is', null)
            .where('expires_at', '>', now)
            .executeTakeFirst()
          if (result.numUpdatedRows !== 1n) return false
          announce([userId], 'ended')
          await note(trx, entry)
          return true
        },
        { lockFirst: true },
      ),
    endAll: (userId, except, now, entry) =>
      acting(
        entry,
        userId === null ? [] : [userId],
        async (trx, announce) => {
          const count = await endSessions(trx, userId, except, now)
          if (count === 0) return 0
          announce(userId === null ? 'everyone' : [userId], 'ended')
          await note(trx, entry)
          return count
        },
        { lockFirst: true },
      ),
    expire: (ids, now) =>
      transaction(
        async (trx) => {
          for (const part of inParts(ids.toSorted())) {
            await trx
              .updateTable('sessions')
              .set(({ ref }) => ({ ended_at: ref('expires_at') }))
              .where('id', 'in', part)
              .where('ended_at', 'is', null)
              .where('expires_at', '<=', now)
              .execute()
          }
        },
        { lockFirst: true },
      ),
    list: (userIds, now) =>
      query(async (db) => {
        const rows: SessionRow[] = []
        for (const part of inParts(userIds)) {
          const live = db.selectFrom('sessions').selectAll().where('user_id', 'in', part)
          rows.push(...(await live.where('ended_at', 'is', null).where('expires_at', '>', now).execute()))
        }
        return rows.map(toSession).toSorted(newestFirst)
      }),
    purge: (expiredBefore, limit) =>
      transaction(
        async (trx) => {
          const due = trx.selectFrom('sessions').select('id').where('expires_at', '<', expiredBefore).orderBy('expires_at').limit(limit)
          const removal = trx.deleteFrom('sessions').where('id', 'in', due).where('expires_at', '<', expiredBefore)
          return Number((await removal.executeTakeFirst()).numDeletedRows)
        },
        { lockFirst: true, mayBeLost: true, writesBack: true },
      ),
  }
}

/** The hot read as SQL; engines prepare it once. */
export function sessionAndUserQuery(db: Kysely<Schema>, tokenHash: Uint8Array) {
  // Without the hash: who asks has it, and a column of bytes costs as much as all others.
  const columns = SESSION_COLUMNS.filter((column) => column !== 'token_hash')
  return sessionsAndUsers(db, columns).where('token_hash', '=', tokenHash).$castTo<FoundRow>()
}

function sessionsAndUsers(db: Kysely<Schema>, columns: readonly (typeof SESSION_COLUMNS)[number][] = SESSION_COLUMNS) {
  const userColumns = USER_COLUMNS.map((column) => `users.${column} as u_${column}` as const)
  return (
    db
      .selectFrom('sessions')
      .innerJoin('users', 'users.id', 'sessions.user_id')
      // Each by name: a column that a later version adds must not change what this one has prepared.
      .select(columns.map((column) => `sessions.${column}` as const))
      .select(userColumns)
      .$castTo<SessionAndUserRow>()
  )
}

export function liveSession(db: Kysely<Schema>, id: string, tokenHash: Uint8Array) {
  return db.selectFrom('sessions').where('id', '=', id).where('token_hash', '=', tokenHash).where('ended_at', 'is', null)
}

/** Ending brings the expiry forward too, so that one index serves the purge. */
function ended(now: number) {
  return (eb: ExpressionBuilder<Schema, 'sessions'>) => ({
    ended_at: now,
    expires_at: eb.case().when('expires_at', '>', now).then(now).else(eb.ref('expires_at')).end(),
  })
}

export async function endSessions(db: Kysely<Schema>, userId: string | null, except: string | null, now: number): Promise<number> {
  const result = await db
    .updateTable('sessions')
    .set(ended(now))
    .where('ended_at', 'is', null)
    .where('expires_at', '>', now)
    .$if(userId !== null, (update) => update.where('user_id', '=', userId ?? ''))
    .$if(except !== null, (update) => update.where('id', '!=', except ?? ''))
    .executeTakeFirst()
  return Number(result.numUpdatedRows)
}

/** Answers whose they were. */
async function removeByHash(trx: Transaction<Schema>, tokenHash: Uint8Array): Promise<string[]> {
  const removed = await trx.deleteFrom('sessions').where('token_hash', '=', tokenHash).returning('user_id').execute()
  return removed.map((row) => row.user_id)
}

function newestFirst(a: SessionRecord, b: SessionRecord): number {
  return b.createdAt - a.createdAt || (a.id < b.id ? 1 : -1)
}

/** Answers how many ended. */
async function endBeyond(trx: Transaction<Schema>, { userId, createdAt }: SessionRecord, maxPerUser: number): Promise<number> {
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
  return beyond.length
}
