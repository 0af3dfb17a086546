import type { Storage } from '../storage.ts'
import { createAttemptStore } from './attempts.ts'
import { createAuditStore } from './audit.ts'
import type { SqlEngine } from './engine.ts'
import { createIdentityStore } from './identities.ts'
import { createSessionStore } from './sessions.ts'
import { createTransactionStore } from './transactions.ts'
import { createUserStore } from './users.ts'

/** The stores of one database, whichever engine it has. */
export function createSqlStores(
  engine: SqlEngine,
): Pick<Storage, 'users' | 'sessions' | 'attempts' | 'audit' | 'identities' | 'transactions'> {
  return {
    users: createUserStore(engine),
    sessions: createSessionStore(engine),
    attempts: createAttemptStore(engine),
    audit: createAuditStore(engine),
    identities: createIdentityStore(engine),
    transactions: createTransactionStore(engine),
  }
}
