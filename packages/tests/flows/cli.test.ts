import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { cli, temporaryDirectory } from '../support/process.ts'
import { startTestProvider } from '../support/test-provider.ts'

// Each test starts the command several times, which takes long where the machine is busy.
vi.setConfig({ testTimeout: 90_000 })

const PASSWORD = 'correct horse battery'

test.each([
  [['user', 'add', 'ada', '--password-stdin'], PASSWORD, 0, /^added ada \([0-9a-f-]{36}\)\n$/],
  [['user', 'add', 'ada', '--no-password', '--email', 'A@Example.com', '--json'], '', 0, /"email":"a@example.com"/],
])('user add prints its result on standard output alone: %j', async (args, input, code, pattern) => {
  const cwd = temporaryDirectory()
  const result = await cli(args, { cwd, input })
  expect([result.code, result.stderr]).toEqual([code, `database: ${cwd}/.trpc-login/login.db\n`])
  expect(result.stdout).toMatch(pattern)
})

test.each([
  [['user', 'add', 'a b', '--password-stdin'], PASSWORD, 2, 'Use letters, digits'],
  [['user', 'add', 'ada', '--password-stdin'], 'short', 2, 'Use at least 15 characters'],
  [['user', 'add', 'ada', '--password-stdin', '--role', 'Admin!'], PASSWORD, 2, 'Admin! is no role; known are admin'],
  [['user', 'add', 'ada', '--password-stdin', '--email', 'nonsense'], PASSWORD, 2, 'Not an e-mail address'],
  [['user', 'add', 'ada'], '', 2, 'use --password-stdin'],
  [['user', 'add', 'ada', '--password', PASSWORD], '', 2, 'unknown option'],
  [['user', 'ad'], '', 2, "unknown command 'ad'"],
  [['nonsense'], '', 2, "unknown command 'nonsense'"],
])('wrong use is exit 2 and says what is allowed: %j', async (args, input, code, message) => {
  const result = await cli(args, { cwd: temporaryDirectory(), input })
  expect([result.code, result.stdout]).toEqual([code, ''])
  expect(result.stderr).toContain(message)
  expect(result.stderr).not.toContain('    at ')
})

test('a name that is taken is exit 4', async () => {
  const cwd = temporaryDirectory()
  await cli(['user', 'add', 'ada', '--no-password'], { cwd })
  const { code, stderr } = await cli(['user', 'add', 'ADA', '--no-password'], { cwd })
  expect([code, stderr]).toEqual([4, expect.stringContaining('\ntrpc-login: This username or address is taken\n')])
})

/** One of each kind of command that may not make a database. */
const NEED_A_DATABASE = [
  ['user', 'list'],
  ['user', 'reset-password', 'ada'],
  ['user', 'import', 'users.csv'],
  ['user', 'export'],
  ['session', 'revoke', '--all'],
  ['audit', 'list'],
  ['backup', 'copy.db'],
]

test('in a folder without a database every command that may not make one says where it looked, and nothing is made', async () => {
  const cwd = temporaryDirectory()
  writeFileSync(join(cwd, 'users.csv'), 'username\nada\n')
  const answers = await Promise.all(NEED_A_DATABASE.map(async (args) => ({ args, ...(await cli(args, { cwd })) })))
  for (const { args, code, stdout, stderr } of answers) {
    expect([args, code, stdout]).toEqual([args, 3, ''])
    expect(stderr).toContain(`there is no database at ${cwd}/.trpc-login/login.db`)
  }
  for (const args of [['migrate', '--dry-run'], ['doctor']]) expect((await cli(args, { cwd })).code).toBe(0)
  expect(readdirSync(cwd)).toEqual(['users.csv'])
})

test('a command names the database that it uses, and on PostgreSQL neither user nor password of it', async () => {
  const cwd = temporaryDirectory()
  const elsewhere = join(cwd, 'other.db')
  const env = { TRPC_LOGIN_DATABASE_URL: `sqlite:${elsewhere}` }
  expect((await cli(['migrate'], { cwd, env })).stderr).toBe(`database: ${elsewhere}\n`)
  const listed = await cli(['user', 'list', '--json'], { cwd, env })
  expect([listed.code, listed.stderr]).toEqual([0, `database: ${elsewhere}\n`])
  const away = { TRPC_LOGIN_DATABASE_URL: 'postgres://login:the-secret@127.0.0.1:1/login?sslmode=disable' }
  const { code, stdout, stderr } = await cli(['user', 'list'], { cwd, env: away })
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^database: postgres:\/\/127\.0\.0\.1:1\/login\n/)])
  expect(stdout + stderr).not.toContain('the-secret')
})

test('unknown settings are refused by name', async () => {
  const { code, stderr } = await cli(['doctor'], { cwd: temporaryDirectory(), env: { TRPC_LOGIN_DATADIR: 'x' } })
  expect(code).toBe(2)
  expect(stderr).toContain('TRPC_LOGIN_DATADIR is not a setting; known are')
})

test('migrate says what it would do, does it, and then has nothing left', async () => {
  const cwd = temporaryDirectory()
  const say = async (...args: string[]) => (await cli(['migrate', ...args], { cwd })).stdout
  expect(await say('--dry-run')).toBe(
    'would apply 1 users and sessions\nwould apply 2 attempts\nwould apply 3 administration\nwould apply 4 attributes\nwould apply 5 sign-in with others\nwould apply 6 changes\n',
  )
  expect(JSON.parse(await say('--json'))).toEqual({
    dryRun: false,
    migrations: ['1 users and sessions', '2 attempts', '3 administration', '4 attributes', '5 sign-in with others', '6 changes'],
  })
  expect(await say()).toBe('the schema is up to date\n')
})

test('doctor is content with a fresh start, and says what is wrong and what to do', async () => {
  const cwd = temporaryDirectory()
  const fresh = await cli(['doctor'], { cwd })
  expect([fresh.code, fresh.stdout.includes('FAIL')]).toEqual([0, false])
  const dataDir = join(cwd, 'data')
  mkdirSync(dataDir)
  chmodSync(dataDir, 0o755)
  const { code, stdout } = await cli(['doctor', '--json'], {
    cwd,
    env: { TRPC_LOGIN_DATA_DIR: dataDir, TRPC_LOGIN_HOST: '0.0.0.0', TRPC_LOGIN_TLS_CERT: 'no.pem', TRPC_LOGIN_TLS_KEY: 'no.pem' },
  })
  expect(code).toBe(1)
  const failed = (JSON.parse(stdout) as { check: string; ok: boolean; remedy?: string }[]).filter(({ ok }) => !ok)
  expect(failed.map(({ check }) => check)).toEqual(['data directory', 'certificate'])
  expect(failed[0]?.remedy).toBe(`chmod 700 ${dataDir}`)
})

test('ST-4: a data directory that others can enter is refused', async () => {
  const cwd = temporaryDirectory()
  mkdirSync(join(cwd, '.trpc-login'), { mode: 0o755 })
  chmodSync(join(cwd, '.trpc-login'), 0o755)
  const { code, stderr } = await cli(['user', 'add', 'ada', '--no-password'], { cwd })
  expect([code, stderr]).toEqual([2, expect.stringContaining('run: chmod 700')])
})

test('help shows every setting with its default', async () => {
  const { code, stdout } = await cli(['--help'], { cwd: temporaryDirectory() })
  expect(code).toBe(0)
  for (const text of ['TRPC_LOGIN_PORT', '(default 8443)', 'TRPC_LOGIN_REGISTRATION', 'Exit codes: 0 ok']) expect(stdout).toContain(text)
})

test('doctor asks each provider, and says which redirect URI it must know', async () => {
  await using provider = await startTestProvider()
  const cwd = temporaryDirectory()
  const company = { provider: 'oidc', id: 'company', name: 'Company', issuer: provider.issuer, clientId: 'a', clientSecret: 'the-secret' }
  const away = { ...company, id: 'away', name: 'Away', issuer: 'https://127.0.0.1:1' }
  const env = {
    NODE_EXTRA_CA_CERTS: provider.caFile,
    TRPC_LOGIN_BASE_URL: 'https://app.example.com',
    TRPC_LOGIN_PROVIDERS: JSON.stringify([company, away]),
  }
  const { code, stdout, stderr } = await cli(['doctor'], { cwd, env })
  expect(code).toBe(1)
  expect(stdout).toContain('ok   sign-in with Company: redirect URI https://app.example.com/oauth/company/callback')
  expect(stdout).toContain('FAIL sign-in with Away: Away cannot be reached')
  expect(stdout + stderr).not.toContain('the-secret')
})
