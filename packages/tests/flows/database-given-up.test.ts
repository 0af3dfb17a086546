import { setTimeout as sleep } from 'node:timers/promises'
import { postgresStorage } from '@trpc-login/server'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { makeDatabase, query } from '../support/postgres-database.ts'
import { createPostgresServer, type PostgresServer } from '../support/postgres-server.ts'
import { until } from '../support/remote.ts'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'

const POOL = 10

let own: PostgresServer
beforeAll(async () => {
  own = await createPostgresServer()
})
afterAll(() => own.remove())

async function startOnOwn(pool = POOL) {
  const database = await makeDatabase(own.url('postgres'))
  const role = `r_${database.name}`
  await query(own.url('postgres'), `create role ${role} login; grant all on database ${database.name} to ${role}`)
  await query(database.url, `grant all on schema public to ${role}`)
  database.url = database.url.replace('//postgres@', `//${role}@`)
  const storage = postgresStorage({ url: database.url })
  await storage.migrate()
  await storage.close()
  const server = await startServer({ storage: postgresStorage({ url: database.url, pool }) })
  onTestFinished(() => server[Symbol.asyncDispose]())
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const ours = `application_name = 'trpc-login' and datname = '${database.name}'`
  return {
    server,
    cookie,
    url: database.url,
    limit: (connections: number) => query(own.url('postgres'), `alter role ${role} connection limit ${connections}`),
    held: async () =>
      (await query<{ n: number }>(own.url('postgres'), `select count(*)::int as n from pg_stat_activity where ${ours}`))[0]?.n,
    end: () => query(own.url('postgres'), `select pg_terminate_backend(pid) from pg_stat_activity where ${ours}`),
  }
}

async function set(change: string): Promise<void> {
  await query(own.url('postgres'), `alter system ${change}`)
  await query(own.url('postgres'), 'select pg_reload_conf()')
}

/** Commits wait for a standby that is not there, and no limit of the server ends that wait. */
async function stopStandby() {
  await set("set synchronous_standby_names = 'gone'")
  onTestFinished(() => set('reset synchronous_standby_names'))
  await until(
    async () =>
      (await query<{ s: string }>(own.url('postgres'), "select current_setting('synchronous_standby_names') as s"))[0]?.s === 'gone',
  )
  return () => set('reset synchronous_standby_names')
}

test('ST-7: while commits wait for a standby that is gone, who is signed in is served, and no connection is held uncounted', async () => {
  const { server, cookie, held } = await startOnOwn()
  const start = await stopStandby()
  let most = 0
  const over = new AbortController()
  const watched = (async () => {
    for (; !over.signal.aborted; await sleep(50)) most = Math.max(most, (await held()) ?? 0)
  })()
  const strangers = Promise.all(
    Array.from({ length: 150 }, (_, index) => server.post('auth.login', { username: `nobody${index}`, password: PASSWORD })),
  )
  const reads: number[] = []
  const reading = (async () => {
    for (; !over.signal.aborted; await sleep(20)) reads.push((await server.fetch('/api/guarded', { headers: { cookie } })).status)
  })()
  const answers = await strangers
  over.abort()
  await Promise.all([watched, reading])
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([503]))
  expect(reads.length).toBeGreaterThan(10)
  expect(reads.filter((status) => status !== 200)).toEqual([])
  expect(most).toBeLessThanOrEqual(POOL)
  await start()
  await until(async () => (await server.post('auth.login', { username: 'ada', password: PASSWORD })).status === 200)
  expect(await held()).toBeLessThanOrEqual(POOL)
})

test('ST-7: of reads while the database ends its connections 20 times, none fails', async () => {
  const { server, cookie, end } = await startOnOwn()
  const paths = ['guarded', 'auth.me', 'auth.sessions.list']
  const statuses: number[] = []
  const over = new AbortController()
  const readers = Array.from({ length: 8 }, async (_, reader) => {
    for (let index = reader; !over.signal.aborted; index += 1)
      statuses.push((await server.fetch(`/api/${paths[index % paths.length]}`, { headers: { cookie } })).status)
  })
  for (let times = 0; times < 20; times += 1) {
    await end()
    await sleep(30)
  }
  await until(() => statuses.length >= 1772)
  over.abort()
  await Promise.all(readers)
  expect(statuses.filter((status) => status !== 200)).toEqual([])
})

test('ST-7: where its role has no connection left for a moment, a read waits for one', async () => {
  const { server, cookie, limit, url } = await startOnOwn()
  await limit(2)
  onTestFinished(async () => void (await limit(-1)))
  const taken = [1, 2].map(() => query(url, 'select pg_sleep(0.5)').catch(() => []))
  const statuses = await Promise.all(
    Array.from({ length: 40 }, async () => (await server.fetch('/api/guarded', { headers: { cookie } })).status),
  )
  expect(statuses.filter((status) => status !== 200)).toEqual([])
  await Promise.all(taken)
})

test('the size of the pool is a number from 1 to 1000', () => {
  for (const pool of [0, 1.5, 1001, Number.NaN])
    expect(() => postgresStorage({ url: 'postgres://u@h/d', pool })).toThrow('pool must be a number from 1 to 1000')
})
