import { initTRPC } from '@trpc/server'
import { createAuth, createServer, postgresStorage, type Storage } from '@trpc-login/server'
import { loadConfig } from '@trpc-login/server/config'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createDatabase } from '../support/postgres.ts'
import { CLI, cli, start, temporaryDirectory } from '../support/process.ts'
import { cookieOf, createMemoryLog, PASSWORD, startServer, type TestServerOptions } from '../support/server.ts'

type Client = Awaited<ReturnType<Awaited<ReturnType<typeof startServer>>['signIn']>>

/** Servers on one database, each with connections of its own, as on machines of their own. */
async function startServers(count: number, options: TestServerOptions = {}) {
  const database = await createDatabase()
  const servers: Awaited<ReturnType<typeof startServer>>[] = []
  for (let i = 0; i < count; i += 1) servers.push(await startServer({ ...options, storage: postgresStorage({ url: database.url }) }))
  onTestFinished(async () => {
    for (const server of servers) await server[Symbol.asyncDispose]()
    await database[Symbol.asyncDispose]()
  })
  return { servers, database }
}

/** Opens a stream; `ended` tells when, and with which reason, it came to its end. */
async function openStream({ api }: Client) {
  const started = Promise.withResolvers<void>()
  const ended = new Promise<{ reason: string; at: number }>((resolve) => {
    api.waits.subscribe(undefined, {
      onData: () => started.resolve(),
      onError: (error) => resolve({ reason: String(error.data?.reason), at: performance.now() }),
    })
  })
  await started.promise
  return { ended }
}

describe('revocation across servers', () => {
  test('LO-1 LO-6: a session that one server ends is refused by the others on its next request, and its streams end within a second', async () => {
    const { servers } = await startServers(3)
    const [here, ...others] = await Promise.all(servers.map((server) => server.signIn()))
    const streams = await Promise.all(others.map(openStream))
    await here?.api.auth.sessions.revokeOthers.mutate()
    const revokedAt = performance.now()
    for (const other of others) await expect(other.api.guarded.query()).rejects.toMatchObject({ data: { reason: 'session_ended' } })
    for (const { ended } of streams) {
      const { reason, at } = await ended
      expect(reason).toBe('session_ended')
      expect(at - revokedAt).toBeLessThan(1000)
    }
    expect(await here?.api.guarded.query()).toBe('ada')
  })

  test('LO-2 LO-4: who is disabled on one server is out on the others, streams included, and roles hold on the next request', async () => {
    const { servers } = await startServers(2)
    const [one, two] = servers
    const bob = await one?.auth.users.findByUsername('bob')
    const elsewhere = await two?.signIn('bob')
    await expect(elsewhere?.api.admin.query()).rejects.toMatchObject({ data: { reason: 'forbidden' } })
    await one?.auth.users.update(bob?.id ?? '', { roles: ['admin'] })
    expect(await elsewhere?.api.admin.query()).toBe('bob')
    await one?.addUser({ username: 'root', roles: ['admin'] })
    const stream = elsewhere === undefined ? null : await openStream(elsewhere)
    await one?.auth.users.disable(bob?.id ?? '')
    await expect(elsewhere?.api.guarded.query()).rejects.toMatchObject({ data: { reason: 'session_ended' } })
    expect((await stream?.ended)?.reason).toBe('session_ended')
  })
})

test('RL-3: 50 guesses at once, spread over three servers, meet one budget', async () => {
  const { servers } = await startServers(3)
  const statuses = await Promise.all(
    Array.from({ length: 50 }, async (_, index) => {
      const answer = await servers[index % 3]?.post('auth.login', { username: 'ada', password: 'a wrong password' })
      return answer?.status
    }),
  )
  expect([401, 429].map((wanted) => statuses.filter((status) => status === wanted).length)).toEqual([6, 44])
})

const cursor = (position: object) => Buffer.from(JSON.stringify(position)).toString('base64url')

test('IN-2: what PostgreSQL cannot store is answered as on SQLite, and never 5xx', async () => {
  const { servers } = await startServers(1)
  const sqlite = await startServer()
  onTestFinished(() => sqlite[Symbol.asyncDispose]())
  const admin = async (server: typeof sqlite) => {
    await server.addUser({ username: 'root', roles: ['admin'] })
    return cookieOf((await server.post('auth.login', { username: 'root', password: PASSWORD })).headers)
  }
  const cookies = new Map([
    [sqlite, await admin(sqlite)],
    [servers[0] ?? sqlite, await admin(servers[0] ?? sqlite)],
  ])
  const bad = ['a\0b', '\ud800', '\u{10ffff}', 'ﬀ'.repeat(30)]
  for (const text of bad) {
    const calls: [string, unknown][] = [
      ['auth.login', { username: text, password: text }],
      ['auth.login', { username: `${text}@example.com`, password: text }],
      ['auth.sessions.revoke', { id: text }],
      ['auth.account.update', { name: text }],
      ['auth.users.create', { username: text }],
      ['auth.resetPassword', { token: text, newPassword: 'correct horse battery' }],
    ]
    for (const [path, input] of calls) {
      const answers = []
      for (const [server, cookie] of cookies)
        answers.push((await server.post(path, input, { cookie: path === 'auth.login' ? '' : cookie })).status)
      expect([path, JSON.stringify(text), answers[1]]).toEqual([path, JSON.stringify(text), answers[0]])
      expect(answers[1]).toBeLessThan(500)
    }
    const queries: [string, unknown][] = [
      ['auth.users.list', { search: text }],
      ['auth.users.list', { cursor: cursor({ id: text, usernameKey: text, email: text }) }],
      ['auth.audit.list', { type: text }],
      ['auth.users.get', { id: text }],
    ]
    for (const [path, input] of queries) {
      const answers = []
      for (const [server, cookie] of cookies) {
        const url = `/api/${path}?input=${encodeURIComponent(JSON.stringify(input))}`
        answers.push((await server.fetch(url, { headers: { cookie, accept: 'application/json' } })).status)
      }
      expect([path, JSON.stringify(text), answers[1]]).toEqual([path, JSON.stringify(text), answers[0]])
      expect(answers[1]).toBeLessThan(500)
    }
  }
})

/** Starts a server and stops it; answers what it logged. */
async function serveOn(storage: Storage) {
  const { log, lines } = createMemoryLog()
  const auth = createAuth({ storage, log })
  const router = initTRPC.create().router({ auth: auth.router })
  const tls = { developmentDir: temporaryDirectory() }
  try {
    await (await createServer({ auth, router, port: 0, tls })).close()
  } finally {
    await auth.close()
  }
  return lines
}

describe('the schema on PostgreSQL', () => {
  test('ST-5: a server refuses one that is behind, naming the remedy, and makes none by itself', async () => {
    await using database = await createDatabase({ empty: true })
    await expect(serveOn(postgresStorage({ url: database.url }))).rejects.toThrow(/lacks 1 users and sessions.*run: trpc-login migrate/)
    expect(await database.query("select * from pg_tables where schemaname = 'public'")).toEqual([])
  })

  test('a server starts on one that is ahead, with a warning, so that servers can be replaced one by one', async () => {
    await using database = await createDatabase()
    await database.query("insert into trpc_login_migrations values (99, 'later', 'x', 0)")
    const lines = await serveOn(postgresStorage({ url: database.url }))
    expect(lines.filter(({ level }) => level !== 'info')).toEqual([{ level: 'warn', event: 'schema_newer', fields: { versions: [99] } }])
  })

  test('a running server goes on while a newer one adds a column to what it has prepared', async () => {
    const { servers, database } = await startServers(1)
    const ada = await servers[0]?.signIn()
    expect(await ada?.api.guarded.query()).toBe('ada')
    await database.query('alter table sessions add column later text')
    await database.query('alter table users add column later text')
    for (let i = 0; i < 5; i += 1) expect(await ada?.api.guarded.query()).toBe('ada')
  })

  test('of another text is refused, whatever else', async () => {
    await using database = await createDatabase()
    await database.query("update trpc_login_migrations set checksum = 'x' where version = 1")
    const storage = postgresStorage({ url: database.url })
    await expect(storage.schema()).rejects.toMatchObject({
      cause: { message: expect.stringContaining('applied with another text') as unknown },
    })
    await storage.close()
  })

  test('ST-5: of eight that migrate one empty database at once, one applies, and the others find it done', async () => {
    await using database = await createDatabase({ empty: true })
    const storages = Array.from({ length: 8 }, () => postgresStorage({ url: database.url }))
    const applied = await Promise.all(storages.map((storage) => storage.migrate()))
    const [names, ...others] = applied.filter((names) => names.length > 0)
    expect(others).toEqual([])
    const [count] = await database.query<{ n: string }>('select count(*) as n from trpc_login_migrations')
    expect(Number(count?.n)).toBe(names?.length)
    for (const storage of storages) await storage.close()
  })
})

describe('the command line on PostgreSQL', () => {
  test('migrate, user add, doctor and serve work as on SQLite', async () => {
    await using database = await createDatabase({ empty: true })
    const cwd = temporaryDirectory()
    const env = { TRPC_LOGIN_DATABASE_URL: database.url, TRPC_LOGIN_PORT: '0' }
    const behind = await cli(['user', 'add', 'ada', '--no-password'], { cwd, env })
    expect([behind.code, behind.stderr]).toEqual([1, expect.stringContaining('run: trpc-login migrate')])
    expect((await cli(['migrate', '--dry-run'], { cwd, env })).stdout).toContain('would apply 1 users and sessions\n')
    const started = await cli(['serve'], { cwd, env })
    expect([started.code, started.stdout, started.stderr]).toEqual([1, '', expect.stringContaining('run: trpc-login migrate')])
    const applied = await Promise.all([cli(['migrate'], { cwd, env }), cli(['migrate'], { cwd, env })])
    expect(applied.map(({ code }) => code)).toEqual([0, 0])
    expect(applied.map(({ stdout }) => stdout.split('\n')[0] ?? '').toSorted((a, b) => a.localeCompare(b))).toEqual([
      'applied 1 users and sessions',
      'the schema is up to date',
    ])
    expect((await cli(['user', 'add', 'ada', '--password-stdin'], { cwd, env, input: PASSWORD })).code).toBe(0)
    const doctor = await cli(['doctor'], { cwd, env })
    expect([doctor.code, doctor.stdout]).toEqual([
      0,
      expect.stringMatching(/ok {3}database: postgres:\/\/[^ ]*\/t_\w+ can be written, schema up to date/),
    ])
    const server = start(CLI, ['serve', '--workers', '2'], { cwd, env })
    expect(await server.seen('listening on')).toMatch(/^listening on https:\/\/127\.0\.0\.1:\d+\n$/)
    server.child.kill('SIGTERM')
    expect((await server.ended).code).toBe(0)
  })

  test.each([
    [['doctor'], 'postgres://ada:s3cr3t@127.0.0.1:1/x'],
    [['user', 'list'], 'postgresql://ada:s3cr3t@127.0.0.1:1/x'],
    [['serve'], 'postgres://ada:s3cr3t@127.0.0.1:1/x'],
    [['doctor'], 'postgres://ada:s3cr3t%zz@127.0.0.1:1/x'],
  ])('AU-1: %j with a database that cannot be used fails, and does not say its password', async (args, url) => {
    const { code, stdout, stderr } = await cli(args, {
      cwd: temporaryDirectory(),
      env: { TRPC_LOGIN_DATABASE_URL: url, TRPC_LOGIN_PORT: '0' },
    })
    expect(code).toBe(1)
    expect(`${stdout}${stderr}`).not.toMatch(/s3cr3t|ada:|    at /)
    expect(`${stdout}${stderr}`).toMatch(/ECONNREFUSED|URI malformed/)
  })

  test.each(['postgres:/ada:s3cr3t@127.0.0.1', 'mysql://ada:s3cr3t@127.0.0.1:1/x', 'postgres://'])(
    'AU-1: a URL that is none of ours is refused without being shown: %s',
    (url) => {
      const load = () => loadConfig({ TRPC_LOGIN_DATABASE_URL: url })
      expect(load).toThrow(/^TRPC_LOGIN_DATABASE_URL must be sqlite:PATH or postgres:/)
      expect(load).not.toThrow(/s3cr3t/)
    },
  )
})
