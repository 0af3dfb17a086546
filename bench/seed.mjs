// Sessions whose tokens are known, written straight into SQLite: ten million logins would take days.
import { createHash } from 'node:crypto'
import { DatabaseSync } from 'node:sqlite'

const SESSIONS_PER_USER = 10
const DAY_MS = 86_400_000

export const tokenOf = (index) => createHash('sha256').update(`session ${index}`).digest('base64url')
const hashOf = (index) => createHash('sha256').update(tokenOf(index)).digest()

/** Adds users and sessions to a database that the library has made. */
export function seed(path, from, to) {
  const db = new DatabaseSync(path)
  db.exec('pragma synchronous = off; pragma cache_size = -1000000; begin')
  const at = Date.now()
  const user = db.prepare(
    "insert into users (id, username, username_key, email, roles, epoch, created_at) values (?, ?, ?, null, '[]', 0, ?)",
  )
  const session = db.prepare(
    `insert into sessions (id, user_id, user_epoch, token_hash, created_at, last_seen_at, expires_at, absolute_expires_at, authenticated_at,
       remembered, user_agent, ip) values (?, ?, 0, ?, ?, ?, ?, ?, ?, 0, 'bench', '127.0.0.1')`,
  )
  for (let index = from; index < to; index += 1) {
    const owner = Math.floor(index / SESSIONS_PER_USER)
    if (index % SESSIONS_PER_USER === 0) user.run(idOf(owner, 8), `seeded${owner}`, `seeded${owner}`, at)
    session.run(idOf(index, 9), idOf(owner, 8), hashOf(index), at, at, at + DAY_MS, at + DAY_MS, at)
  }
  db.exec('commit; pragma wal_checkpoint(truncate)')
  db.close()
}

function idOf(index, kind) {
  return `01900000-0000-7000-${kind}000-${index.toString(16).padStart(12, '0')}`
}
