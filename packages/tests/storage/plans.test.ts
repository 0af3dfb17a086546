import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type Storage, sqliteStorage } from '@trpc-login/server'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { ANY, entry, hash, identity, LIMITS, session, transaction, user } from './conformance/records.ts'

const ROWS = 100_000
/** Rows as they may be in a database that has served for long, spread over many users. */
const NUMBERS = `with recursive numbers (i) as (select 1 union all select i + 1 from numbers where i < ${ROWS})`
const ID = "printf('%08x-%04x-7000-8000-%012x', i, 0, i)"
const FILLED = {
  users: `select ${ID}, 'user' || i, 'user' || i, null, 'user' || i || '@example.com', i, '[]', null, 0, i, null, null, null from numbers`,
  sessions: `select ${ID}, printf('%08x-%04x-7000-8000-%012x', i, 0, i), 0, randomblob(32), i, i, i, i, i, 0, null, null, null from numbers`,
  attempts: `select 'account:' || i, 1, 0, i from numbers`,
  audit: `select ${ID}, i * 65536, 'type' || (i % 10), 'u' || (i % 100), 'u' || (i % 77), null, '{}' from numbers`,
  identities: `select ${ID}, ${ID}, 'p', 'https://issuer', 's' || i, null, i from numbers`,
  oauth_transactions: `select randomblob(32), randomblob(32), 'p', '', '', '/', 0, 0, ${ID}, null, null, i, i from numbers`,
}

let dir: string
let storage: Storage
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'trpc-login-plans-'))
  const path = join(dir, 'login.db')
  storage = sqliteStorage({ path })
  await storage.migrate()
  const db = new DatabaseSync(path)
  db.exec('begin')
  for (const [table, rows] of Object.entries(FILLED)) db.exec(`insert into ${table} ${NUMBERS} ${rows}`)
  db.exec('commit')
  db.close()
})
afterAll(async () => {
  await storage.close()
  rmSync(dir, { recursive: true })
})

const by = { authority: { userId: 'u1', sessionId: 's1', role: 'editor', provedAfter: 1, now: 2000 } }
const wrote = entry('x', by)

/** Every method of every store, in each form that makes another statement. */
const ACTS: Record<string, (to: Storage) => Promise<unknown>> = {
  'audit.append': ({ audit }) => audit.append(entry('x1')),
  'audit.list': ({ audit }) => audit.list(ANY),
  'audit.list, a page on': ({ audit }) => audit.list({ ...ANY, before: 'zz' }),
  'audit.list by type': ({ audit }) => audit.list({ ...ANY, type: 'type1', before: 'zz' }),
  'audit.list by user': ({ audit }) => audit.list({ ...ANY, userId: 'u2', before: 'zz' }),
  'audit.list by user and type': ({ audit }) => audit.list({ ...ANY, userId: 'u2', type: 'type1', before: 'zz' }),
  'audit.count': ({ audit }) => audit.count('type1', 65_536 * (ROWS - 50), 65_536 * 20),
  'audit.purge': ({ audit }) => audit.purge(65_536 * 500, 100),
  'users.create': ({ users }) => users.create(user(), entry('x2')),
  'users.createMany': ({ users }) =>
    users.createMany([user(), user({ id: 'u2', usernameKey: 'b', email: 'b@x', emailVerifiedAt: 1 })], entry('x3')),
  'users.findById': ({ users }) => users.findById('u1'),
  'users.findByUsernameKey': ({ users }) => users.findByUsernameKey('ada'),
  'users.findByVerifiedEmail': ({ users }) => users.findByVerifiedEmail('a@example.com'),
  'users.update': ({ users }) => users.update('u1', { email: 'n@example.com', emailVerifiedAt: 5, roles: ['admin'] }, entry('x4')),
  'users.update of an admin': ({ users }) => users.update('u1', { roles: [] }, entry('x5')),
  'users.update on somebody’s word': ({ users }) => users.update('u1', { name: 'x' }, wrote),
  'users.rehash': ({ users }) => users.rehash('u1', { from: '$argon2id$x', to: 'y' }),
  'sessions.start': ({ sessions }) => sessions.start(session(), { ...LIMITS, maxPerUser: 0, replaces: hash('none'), entry: entry('x6') }),
  'sessions.find': ({ sessions }) => sessions.find(hash('s1')),
  'sessions.findByIds': ({ sessions }) => sessions.findByIds(['s1', 's2']),
  'sessions.extend': ({ sessions }) => sessions.extend([{ id: 's1', lastSeenAt: 2000, expiresAt: 6000 }], 1500),
  'sessions.rotate': ({ sessions }) => sessions.rotate('s1', { from: hash('s1'), to: hash('n'), authenticatedAt: 2 }, entry('x7')),
  'sessions.end': ({ sessions }) => sessions.end('s1', 'u1', 2000, entry('x8')),
  'sessions.endAll': ({ sessions }) => sessions.endAll('u1', 's9', 2000, entry('x9')),
  'sessions.endAll of everyone': ({ sessions }) => sessions.endAll(null, null, ROWS - 5, entry('y1')),
  'sessions.expire': ({ sessions }) => sessions.expire(['s1'], 9000),
  'sessions.list': ({ sessions }) => sessions.list(['u1'], 1500),
  'sessions.purge': ({ sessions }) => sessions.purge(500, 100),
  'users.setPassword': ({ users }) =>
    users.setPassword('u1', { epoch: 0, passwordHash: 'z', now: 2000, keep: { sessionId: 's1', from: hash('s1'), to: hash('m') } }),
  'users.startReset': ({ users }) => users.startReset({ tokenHash: hash('r'), userId: 'u1', expiresAt: 9000 }, entry('y2')),
  'users.findReset': ({ users }) => users.findReset(hash('r'), 5),
  'users.finishReset': ({ users }) => users.finishReset(hash('r'), { passwordHash: 'q', now: 5 }, entry('y3')),
  'users.setDisabledAt': ({ users }) => users.setDisabledAt('u1', 5, 5, entry('y4')),
  'users.list': ({ users }) => users.list({ search: null, limit: 50, after: null }),
  'users.list, a page on': ({ users }) => users.list({ search: null, limit: 50, after: { id: 'z', usernameKey: '', email: '' } }),
  'users.list by name': ({ users }) => users.list({ search: 'user9', limit: 50, after: { id: 'z', usernameKey: 'user91', email: '' } }),
  'users.list by address': ({ users }) =>
    users.list({ search: 'user9@', limit: 50, after: { id: 'z', usernameKey: '', email: 'user9@a' } }),
  'attempts.change': ({ attempts }) =>
    attempts.change(
      ['k', 'l'],
      () =>
        new Map([
          ['k', { count: 1, blockedUntil: 0, expiresAt: 5 }],
          ['l', null],
        ]),
    ),
  'attempts.purge': ({ attempts }) => attempts.purge(500, 100),
  'identities.createUser': ({ identities }) =>
    identities.createUser(user({ id: 'u3', usernameKey: 'c', email: 'c@example.com', emailVerifiedAt: 5 }), identity({ userId: 'u3' }), {
      created: entry('y5'),
      released: () => entry('y6'),
    }),
  'identities.findUser': ({ identities }) => identities.findUser('https://issuer', 'sub'),
  'identities.link': ({ identities }) => identities.link(identity({ id: 'i2', subject: 'z' }), { sessionId: 's1', now: 5 }, entry('y7')),
  'identities.list': ({ identities }) => identities.list(['u1', 'u3']),
  'identities.unlink': ({ identities }) => identities.unlink('i2', 'u1', entry('y8')),
  'transactions.put': ({ transactions }) => transactions.put(transaction()),
  'transactions.find': ({ transactions }) => transactions.find(hash('state')),
  'transactions.take': ({ transactions }) => transactions.take(hash('state'), hash('binding')),
  'transactions.purge': ({ transactions }) => transactions.purge(500, 100),
  'users.delete': ({ users }) => users.delete('u1', entry('y9')),
}

const STORES = ['users', 'sessions', 'attempts', 'audit', 'identities', 'transactions'] as const

test('every method of every store is run', () => {
  const methods = STORES.flatMap((store) => Object.keys(storage[store]).map((method) => `${store}.${method}`))
  expect(methods.filter((method) => !Object.keys(ACTS).some((name) => name.split(/[ ,]/)[0] === method))).toEqual([])
})

test(`with ${ROWS} rows a table no statement reads a table from end to end, or sorts more than the live sessions of one user`, async () => {
  const seen = new Map<string, string>()
  const prepare = vi.spyOn(DatabaseSync.prototype, 'prepare')
  try {
    for (const [name, act] of Object.entries(ACTS)) {
      const from = prepare.mock.calls.length
      await act(storage)
      for (const [text] of prepare.mock.calls.slice(from)) if (!seen.has(text)) seen.set(text, name)
    }
  } finally {
    prepare.mockRestore()
  }
  const statements = [...seen].filter(([text]) => /^(?:select|insert|update|delete)/.test(text))
  expect(statements.length).toBeGreaterThan(50)
  const db = new DatabaseSync(join(dir, 'login.db'), { readOnly: true })
  const findings = statements.flatMap(([text, name]) => {
    const plan = db.prepare(`explain query plan ${text}`).all() as { detail: string }[]
    const sorts = plan.some(({ detail }) => detail.includes('TEMP B-TREE'))
    // A page in the order of an index is read as far as the page goes.
    const isPage = / limit \?/.test(text) && !sorts
    const scans = plan.filter(({ detail }) => /^SCAN (?!CONSTANT|\d+-ROW|\()/.test(detail) && !(isPage && / USING /.test(detail)))
    return [...scans.map(({ detail }) => `${name}: ${detail}: ${text}`), ...(sorts && !ofOneUser(text) ? [`${name} sorts: ${text}`] : [])]
  })
  db.close()
  expect(findings).toEqual([])
})

/** At most as many as one user may have at once, and one more. */
function ofOneUser(text: string): boolean {
  return /from "sessions" where "user_id" = \?/.test(text)
}
