import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { postgresStorage, sqliteStorage } from '@trpc-login/server'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createDatabase } from '../support/postgres.ts'
import { startServer, type TestServer } from '../support/server.ts'

interface Opened {
  readonly server: TestServer
  query(text: string): Promise<object[]>
}

async function onSqlite(): Promise<Opened> {
  const dir = mkdtempSync(join(tmpdir(), 'trpc-login-'))
  const path = join(dir, 'own.db')
  const server = await startServer({ storage: sqliteStorage({ path }) })
  const db = new DatabaseSync(path, { timeout: 5000 })
  onTestFinished(async () => {
    db.close()
    await server[Symbol.asyncDispose]()
    rmSync(dir, { recursive: true })
  })
  return { server, query: async (text) => db.prepare(text).all() }
}

async function onPostgres(): Promise<Opened> {
  const database = await createDatabase()
  const server = await startServer({ storage: postgresStorage({ url: database.url }) })
  onTestFinished(async () => {
    await server[Symbol.asyncDispose]()
    await database[Symbol.asyncDispose]()
  })
  return { server, query: (text) => database.query(text) }
}

const TABLES = ['users', 'sessions', 'attempts', 'resets', 'audit', 'identities', 'oauth_transactions', 'changes']

describe.each([
  ['SQLite', onSqlite],
  ['PostgreSQL', onPostgres],
] as const)('%s', (_engine, open) => {
  test('AU-6: nothing in the database names a user who was deleted', async () => {
    const { server, query } = await open()
    const { id } = await server.addUser({ username: 'grace', name: 'Grace Hopper', email: 'grace@example.com' })
    const boss = await server.auth.users.findByUsername('bob')
    const by = { actorId: boss?.id ?? null, address: '198.51.100.1' }
    await server.auth.users.update(id, { name: 'Admiral Hopper', email: 'hopper@example.com', roles: ['admin'] }, by)
    await server.post('auth.login', { username: 'grace', password: 'wrong wrong wrong' })
    const { api } = await server.signIn('grace')
    await api.auth.account.update.mutate({ name: 'Amazing Grace' })
    const everything = async () => JSON.stringify(await Promise.all(TABLES.map((table) => query(`select * from ${table}`))))
    expect(await everything()).toMatch(/Grace Hopper.*Admiral Hopper/s)
    await server.auth.users.update(boss?.id ?? '', { roles: ['admin'] })
    await server.auth.users.delete(id, by)
    const left = await everything()
    expect(left).not.toMatch(/grace|hopper/i)
    expect(left).toContain(id)
    expect(left).toContain('user_deleted')
  })

  test('AU-6: who deletes themselves takes nothing out of what they did to others but their own name', async () => {
    const { server, query } = await open()
    const { id } = await server.addUser({ username: 'admin', name: 'editor', roles: ['admin'] })
    const bob = await server.auth.users.findByUsername('bob')
    await server.auth.users.update(bob?.id ?? '', { roles: ['admin', 'editor'], name: 'editor' }, { actorId: id, address: '198.51.100.1' })
    await server.auth.users.delete(id, { actorId: id, address: '198.51.100.1' })
    const [entry] = (await query(`select detail, address from audit where type = 'authz_change'`)) as { detail: string; address: null }[]
    expect(JSON.parse(entry?.detail ?? '')).toEqual({ before: { roles: [], name: null }, after: { roles: ['admin', 'editor'] } })
    expect(entry?.address).toBe(null)
  })

  test.each(['', 'on delete restrict', 'deferrable initially deferred'])(
    'AU-6: a user to whom a row of the application points (%s) stays, and that is a conflict',
    async (how) => {
      const { server, query } = await open()
      const { id } = await server.addUser({ username: 'grace' })
      await query(`create table notes (author text not null references users (id) ${how})`)
      await query(`insert into notes values ('${id}')`)
      await expect(server.auth.users.delete(id)).rejects.toMatchObject({
        reason: 'conflict',
        message: 'Rows of the application point to this user; remove them first',
      })
      expect((await server.auth.users.get(id)).username).toBe('grace')
      const { items } = await server.auth.audit.list({ userId: id, type: 'user_deleted' })
      expect(items).toEqual([])
      await query('delete from notes')
      await server.auth.users.delete(id)
      expect(await server.auth.users.findByUsername('grace')).toBe(null)
    },
  )
})

test('AU-6: a user is deleted however long their log is, where that takes PostgreSQL longer than another act may', async () => {
  const { server, query } = await onPostgres()
  const { id } = await server.addUser({ username: 'grace' })
  await query(
    `insert into audit select 'a' || n, 5, 'authn_login_success', '${id}', '${id}', '::1', '{}' from generate_series(1000, 1399) n`,
  )
  await query(`create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.006); return new; end $$`)
  await query('create trigger slow before update on audit for each row execute function slow()')
  const from = performance.now()
  await server.auth.users.delete(id)
  expect(performance.now() - from).toBeGreaterThan(2000)
  expect(await query(`select id from audit where address is not null and actor_id = '${id}'`)).toEqual([])
})
