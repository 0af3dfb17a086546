import type { TransactionRow } from '../schema.ts'
import type { TransactionRecord, TransactionStore } from '../storage.ts'
import type { SqlEngine } from './engine.ts'

export function createTransactionStore({ query, transaction }: SqlEngine): TransactionStore {
  return {
    put: (record) =>
      transaction(async (trx) => void (await trx.insertInto('oauth_transactions').values(toRow(record)).execute()), { lockFirst: true }),
    find: (stateHash) =>
      query(async (db) =>
        fromRow(await db.selectFrom('oauth_transactions').selectAll().where('state_hash', '=', stateHash).executeTakeFirst()),
      ),
    take: (stateHash, bindingHash) =>
      transaction(
        async (trx) =>
          fromRow(
            await trx
              .deleteFrom('oauth_transactions')
              .where('state_hash', '=', stateHash)
              .where('binding_hash', '=', bindingHash)
              .returningAll()
              .executeTakeFirst(),
          ),
        { lockFirst: true },
      ),
    purge: (expiredBefore, limit) =>
      transaction(
        async (trx) => {
          const due = trx
            .selectFrom('oauth_transactions')
            .select('state_hash')
            .where('expires_at', '<', expiredBefore)
            .orderBy('expires_at')
            .limit(limit)
          return Number((await trx.deleteFrom('oauth_transactions').where('state_hash', 'in', due).executeTakeFirst()).numDeletedRows)
        },
        { lockFirst: true, mayBeLost: true, writesBack: true },
      ),
  }
}

function toRow(transaction: TransactionRecord): TransactionRow {
  return {
    state_hash: transaction.stateHash,
    binding_hash: transaction.bindingHash,
    provider: transaction.provider,
    nonce: transaction.nonce,
    code_verifier: transaction.codeVerifier,
    return_to: transaction.returnTo,
    remember: transaction.remember ? 1 : 0,
    link: transaction.link ? 1 : 0,
    user_id: transaction.userId,
    session_id: transaction.sessionId,
    loopback_port: transaction.loopbackPort,
    created_at: transaction.createdAt,
    expires_at: transaction.expiresAt,
  }
}

function fromRow(row: TransactionRow | undefined): TransactionRecord | null {
  if (row === undefined) return null
  return {
    stateHash: row.state_hash,
    bindingHash: row.binding_hash,
    provider: row.provider,
    nonce: row.nonce,
    codeVerifier: row.code_verifier,
    returnTo: row.return_to,
    remember: row.remember === 1,
    link: row.link === 1,
    userId: row.user_id,
    sessionId: row.session_id,
    loopbackPort: row.loopback_port,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  }
}
