import { createServer as createTcpServer } from 'node:net'
import { loadConfig } from '@trpc-login/server/config'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { examine } from '../../server/src/cli/doctor.ts'
import { makeDatabase, query } from '../support/postgres-database.ts'
import { createPostgresServer, type PostgresServer } from '../support/postgres-server.ts'
import { cli, temporaryDirectory } from '../support/process.ts'

// Each test starts the command several times, which takes long where the machine is busy.
vi.setConfig({ testTimeout: 90_000 })

/** One of this file's own: its rights, its settings and whom it lets in are changed. */
let server: PostgresServer
beforeAll(async () => {
  server = await createPostgresServer()
  const admin = server.url('postgres')
  for (const role of ['login', 'watcher']) await query(admin, `create role ${role} login password 'the-secret'`)
  const [{ hba_file: file } = { hba_file: '' }] = await query<{ hba_file: string }>(admin, 'show hba_file')
  const lines = ['host all watcher 127.0.0.1/32 scram-sha-256', 'host all all 127.0.0.1/32 trust'].join('\n')
  await query(admin, `copy (select '${lines.replace('\n', "' union all select '")}') to '${file}'`)
  await query(admin, 'select pg_reload_conf()')
})
afterAll(() => server.remove())

/** A database with the schema, which belongs to the role `login`. */
async function make({ migrated = true } = {}) {
  const { url: admin, name } = await makeDatabase(server.url('postgres'))
  await query(admin, `alter database ${name} owner to login`)
  const url = (user: string) => admin.replace('postgres@', `${user}@`)
  if (migrated) expect((await cli(['migrate'], { cwd: temporaryDirectory(), env: settings(url('login')) })).code).toBe(0)
  return { name, admin, url }
}

function settings(url: string): Record<string, string> {
  return { TRPC_LOGIN_DATABASE_URL: url, TRPC_LOGIN_PORT: '0', TRPC_LOGIN_DATA_DIR: temporaryDirectory() }
}

type Made = Awaited<ReturnType<typeof make>>

interface State {
  readonly of: string
  readonly migrated?: boolean
  /** Brings the state about, and returns the URL to look at. */
  readonly made: (database: Made) => string | Promise<string>
  readonly says: string
  readonly todo: string
}

const asLogin = async ({ admin, url }: Made, sql: string) => {
  await query(admin, sql)
  return url('login')
}

/** A role that may write all tables but one, as where somebody meant to make the log safe. */
async function grantAllBut(admin: string, table: string): Promise<void> {
  await query(admin, 'grant select, insert, update, delete on all tables in schema public to watcher')
  await query(admin, `revoke insert on ${table} from watcher`)
}

const STATES: readonly State[] = [
  {
    of: 'nothing that listens',
    made: () => 'postgres://login@127.0.0.1:1/login',
    says: 'nothing listens at NAME',
    todo: 'start PostgreSQL, or correct host and port in',
  },
  {
    of: 'an unknown host',
    made: () => 'postgres://login@nowhere.invalid/login',
    says: 'the host of NAME (?:is unknown|cannot be looked up)',
    todo: '(?:correct the host in|see that names are resolved)',
  },
  {
    of: 'a host that does not answer',
    made: startSilent,
    says: 'NAME does not answer',
    todo: 'see that PostgreSQL runs and that no firewall is between',
  },
  {
    of: 'a wrong password',
    made: ({ url }) => url('watcher:not-it'),
    says: 'NAME refuses the user or the password: password authentication failed',
    todo: 'correct user and password in',
  },
  {
    of: 'a missing password',
    made: ({ url }) => url('watcher'),
    says: 'NAME refuses the user or the password: ',
    todo: 'correct user and password in',
  },
  {
    of: 'an unknown user',
    made: ({ url }) => url('nobody'),
    says: 'NAME refuses the user or the password: role "nobody" does not exist',
    todo: 'correct user and password in',
  },
  {
    of: 'no such database',
    made: ({ url, name }) => url('login').replace(name, 'nowhere'),
    says: 'there is no such database as NAME',
    todo: 'make it with the encoding UTF8',
  },
  { of: 'no TLS', made: ({ url }) => `${url('login')}?sslmode=verify-full`, says: 'NAME speaks no TLS', todo: 'set ssl = on there' },
  {
    of: 'no schema',
    migrated: false,
    made: ({ url }) => url('login'),
    says: 'the schema lacks 1 users and sessions',
    todo: '(?:run: )?trpc-login migrate',
  },
  {
    of: 'a schema that is behind',
    made: (it) => asLogin(it, 'delete from trpc_login_migrations where version = 5; drop table identities, oauth_transactions'),
    says: 'the schema lacks 5 sign-in with others',
    todo: '(?:run: )?trpc-login migrate',
  },
  {
    of: 'a table of the application’s own in the way',
    migrated: false,
    made: (it) => asLogin(it, 'create table users (id integer)'),
    says: 'the database has a table users that is not ours',
    todo: 'name a database of its own with TRPC_LOGIN_DATABASE_URL',
  },
  {
    of: 'a user without rights',
    made: ({ url }) => url('watcher:the-secret'),
    says: 'the user of NAME lacks a right: permission denied',
    todo: 'grant it: grant select, insert, update, delete',
  },
  ...['sessions', 'attempts', 'audit'].map((table) => ({
    of: `no right to write ${table}`,
    made: ({ admin, url }: Made) => grantAllBut(admin, table).then(() => url('watcher:the-secret')),
    says: `the user of NAME lacks a right: permission denied for table ${table}`,
    todo: 'grant it: grant select, insert, update, delete',
  })),
  {
    of: 'a table that is missing',
    made: (it) => asLogin(it, 'drop table attempts'),
    says: 'NAME lacks what this program needs: .*attempts',
    todo: '(?:run: )?trpc-login migrate',
  },
  {
    of: 'a database that is read-only, as a standby is',
    made: (it) => asLogin(it, `alter database ${it.name} set default_transaction_read_only = on`),
    says: 'NAME takes no writes: it is a standby, or read-only',
    todo: 'name the primary server',
  },
  {
    of: 'no connection left',
    made: (it) => asLogin(it, `alter database ${it.name} connection limit 0`),
    says: 'NAME has no connection left',
    todo: 'raise max_connections',
  },
]

/** Takes connections and says nothing, as behind a firewall that swallows. */
async function startSilent(): Promise<string> {
  const silent = createTcpServer(() => {})
  await new Promise<void>((resolve) => void silent.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void silent.close())
  return `postgres://login@127.0.0.1:${(silent.address() as { port: number }).port}/login`
}

async function databaseFinding(env: Record<string, string>) {
  const findings = await examine(loadConfig(env))
  return findings.find(({ check }) => check === 'database')
}

test.each(STATES)('doctor and serve say of $of on PostgreSQL what it is, and what to do', async ({ migrated = true, made, says, todo }) => {
  const env = settings(await made(await make({ migrated })))
  const { detail = '', remedy = '', ok } = (await databaseFinding(env)) ?? {}
  const { host, pathname } = new URL(env['TRPC_LOGIN_DATABASE_URL'] ?? '')
  expect([ok, detail, remedy]).toEqual([
    false,
    expect.stringMatching(new RegExp(`^${says.replace('NAME', `postgres://${host}${pathname}`)}`)),
    expect.stringMatching(new RegExp(`^${todo}`)),
  ])
  const { code, stdout, stderr } = await cli(['serve'], { cwd: temporaryDirectory(), env })
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain(remedy)
  expect(stderr).not.toMatch(/try again later|the-secret|not-it| {4}at /)
})

test('doctor is content with a database that has all', async () => {
  const { url } = await make()
  expect(await databaseFinding(settings(url('login')))).toMatchObject({
    ok: true,
    detail: expect.stringContaining('can be written, schema up to date'),
  })
})

test('migrate makes nothing where a table of the application’s own is in the way, and says which', async () => {
  const { admin, url } = await make({ migrated: false })
  await query(admin, 'create table audit (id integer)')
  const { code, stdout, stderr } = await cli(['migrate'], { cwd: temporaryDirectory(), env: settings(url('login')) })
  expect([code, stdout, stderr]).toEqual([
    1,
    '',
    expect.stringContaining('trpc-login: the database has a table audit that is not ours; name'),
  ])
  expect(await query(admin, "select tablename as name from pg_tables where schemaname = 'public'")).toEqual([{ name: 'audit' }])
})
