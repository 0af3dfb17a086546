import type { Transaction } from 'kysely'
import type { IdentityRow, Schema } from '../schema.ts'
import type { IdentityRecord, IdentityStore, LinkProof } from '../storage.ts'
import { note } from './audit.ts'
import { createActing } from './authority.ts'
import { inParts, type SqlEngine } from './engine.ts'
import { insertUser } from './new-user.ts'
import { toUserOrNull } from './rows.ts'

export function createIdentityStore(engine: SqlEngine): IdentityStore {
  const { query, transaction } = engine
  const acting = createActing(engine)
  return {
    findUser: (issuer, subject) =>
      query(async (db) =>
        toUserOrNull(
          await db
            .selectFrom('identities')
            .innerJoin('users', 'users.id', 'identities.user_id')
            .selectAll('users')
            .where('issuer', '=', issuer)
            .where('subject', '=', subject)
            .executeTakeFirst(),
        ),
      ),
    createUser: (user, identity, { created, released }) =>
      transaction(async (trx, announce) => {
        if (await isLinked(trx, identity)) return 'identity_taken'
        if (!(await insertUser(trx, user))) return (await isUsername(trx, user.usernameKey)) ? 'username_taken' : 'email_taken'
        if (!(await insert(trx, identity))) {
          await trx.deleteFrom('users').where('id', '=', user.id).execute()
          return 'identity_taken'
        }
        await note(trx, created)
        if (user.email === null || user.emailVerifiedAt === null) return 'created'
        const losers = await releaseClaims(trx, user.email)
        announce(losers, 'ended')
        for (const id of losers) await note(trx, released(id))
        return 'created'
      }),
    link: (identity, proof, entry) =>
      transaction(async (trx, announce) => {
        if (!(await holds(trx, identity.userId, proof)) || !(await insert(trx, identity))) return false
        announce([identity.userId], 'moved')
        await note(trx, entry)
        return true
      }),
    list: (userIds) =>
      query(async (db) => {
        const rows: IdentityRow[] = []
        for (const part of inParts(userIds))
          rows.push(...(await db.selectFrom('identities').selectAll().where('user_id', 'in', part).execute()))
        return rows.map(toIdentity).toSorted(oldestFirst)
      }),
    unlink: (id, userId, entry) =>
      acting(entry, [userId], async (trx, announce) => {
        // Writing to the user first makes two that unlink at once wait for each other on every engine.
        const user = await trx
          .updateTable('users')
          .set((set) => ({ epoch: set.ref('epoch') }))
          .where('id', '=', userId)
          .returning('password_hash')
          .executeTakeFirst()
        const own = await trx.selectFrom('identities').select('id').where('user_id', '=', userId).execute()
        if (user === undefined || !own.some((identity) => identity.id === id)) return false
        if (user.password_hash === null && own.length === 1) return 'last_way'
        await trx.deleteFrom('identities').where('id', '=', id).execute()
        announce([userId], 'moved')
        await note(trx, entry)
        return true
      }),
  }
}

async function insert(trx: Transaction<Schema>, identity: IdentityRecord): Promise<boolean> {
  const result = await trx
    .insertInto('identities')
    .values(fromIdentity(identity))
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst()
  return result.numInsertedOrUpdatedRows === 1n
}

async function isLinked(trx: Transaction<Schema>, { issuer, subject }: IdentityRecord): Promise<boolean> {
  const found = await trx
    .selectFrom('identities')
    .select('id')
    .where('issuer', '=', issuer)
    .where('subject', '=', subject)
    .executeTakeFirst()
  return found !== undefined
}

async function isUsername(trx: Transaction<Schema>, key: string): Promise<boolean> {
  return (await trx.selectFrom('users').select('id').where('username_key', '=', key).executeTakeFirst()) !== undefined
}

/** Who claims an address that another has proved claims it no longer. */
async function releaseClaims(trx: Transaction<Schema>, email: string): Promise<string[]> {
  const claims = await trx
    .updateTable('users')
    .set({ email: null })
    .where('email', '=', email)
    .where('email_verified_at', 'is', null)
    .returning('id')
    .execute()
  const ids = claims.map(({ id }) => id)
  if (ids.length > 0) await trx.deleteFrom('resets').where('user_id', 'in', ids).execute()
  return ids
}

/** Whether the proof still holds, keeping it so until the transaction ends. */
async function holds(trx: Transaction<Schema>, userId: string, proof: LinkProof): Promise<boolean> {
  const user = await trx
    .updateTable('users')
    .set((set) => ({ epoch: set.ref('epoch') }))
    .where('id', '=', userId)
    .where('disabled_at', 'is', null)
    .$if('verifiedEmail' in proof, (update) =>
      update.where('email', '=', 'verifiedEmail' in proof ? proof.verifiedEmail : '').where('email_verified_at', 'is not', null),
    )
    .returning('epoch')
    .executeTakeFirst()
  if (user === undefined || 'verifiedEmail' in proof) return user !== undefined
  const session = await trx
    .selectFrom('sessions')
    .select('id')
    .where('id', '=', proof.sessionId)
    .where('user_id', '=', userId)
    .where('user_epoch', '=', user.epoch)
    .where('ended_at', 'is', null)
    .where('expires_at', '>', proof.now)
    .executeTakeFirst()
  return session !== undefined
}

function oldestFirst(a: IdentityRecord, b: IdentityRecord): number {
  return a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1)
}

function toIdentity(row: IdentityRow): IdentityRecord {
  const { id, provider, issuer, subject, email } = row
  return { id, userId: row.user_id, provider, issuer, subject, email, createdAt: row.created_at }
}

function fromIdentity(identity: IdentityRecord): IdentityRow {
  const { id, provider, issuer, subject, email } = identity
  return { id, user_id: identity.userId, provider, issuer, subject, email, created_at: identity.createdAt }
}
