import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { installTarballs } from '../support/installed.ts'
import { ROOT, run, temporaryDirectory } from '../support/process.ts'

const HERE = join(ROOT, 'packages/tests')
/** The oldest that the client supports, and too old for the server. */
const NODE_22 = join(HERE, 'node_modules/node-22/bin/node')
/** The machine's own, which may be older still: npm runs on it, and finds a newer one for us. */
const MACHINE_NODE = process.env['npm_node_execpath'] ?? process.execPath
const COMMAND = 'node_modules/@trpc-login/server/dist/cli/main.js'
let installed: ReturnType<typeof installTarballs>
let app = ''

beforeAll(() => {
  installed = installTarballs()
  app = installed.dir
}, 60_000)

afterAll(() => installed?.remove())

test.each([
  ['typescript', 'nodenext'],
  ['typescript', 'bundler'],
  ['typescript-5.9', 'nodenext'],
  ['typescript-5.9', 'bundler'],
])('an application outside the workspace compiles against the tarballs with %s and %s resolution', async (compiler, resolution) => {
  const module = resolution === 'bundler' ? 'preserve' : 'nodenext'
  const args = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--noUncheckedIndexedAccess', '--allowImportingTsExtensions']
  const options = ['--module', module, '--moduleResolution', resolution, '--target', 'es2024', '--lib', 'esnext,dom', '--types', 'node']
  const tsc = join(HERE, 'node_modules', compiler, 'bin/tsc')
  const { code, stdout } = await run(
    process.execPath,
    [tsc, ...args, ...options, '--skipLibCheck', 'existing-app.ts', 'existing-client.ts', 'types.ts'],
    { cwd: app },
  ).ended
  expect([stdout, code]).toEqual(['', 0])
})

test('an application that was there before adds sign-in with at most ten lines, and its own context, meta and transformer go on', async () => {
  const source = readFileSync(join(app, 'existing-app.ts'), 'utf8')
  expect(
    source
      .split('\n')
      .slice(1)
      .filter((line) => /(\/\/|\/\*) auth\b/.test(line)).length,
  ).toBeLessThanOrEqual(10)
})

test.runIf(existsSync(NODE_22)).each([
  ['this Node', process.execPath],
  ['Node 22.19, the oldest that it supports', NODE_22],
])('the client calls that application from %s', async (_name, node) => {
  const server = run(process.execPath, [join(app, 'existing-app.ts')], { cwd: temporaryDirectory() })
  const url = (await server.seen('/rpc')).trim()
  const client = run(node, ['--disable-warning=ExperimentalWarning', 'existing-client.ts', url], { cwd: app })
  const { stdout, stderr, code } = await client.ended
  expect([stderr, code]).toEqual(['', 0])
  expect(JSON.parse(stdout)).toEqual({
    version: '1970-01-01T00:00:00.000Z',
    refused: 'not_signed_in',
    registered: true,
    added: 1,
    since: true,
    forbidden: 'forbidden',
    current: 'ada',
    loggedOut: true,
    after: 'not_signed_in',
  })
})

test.each(['server', 'client'])('the tarball of %s holds its README and the licence', (name) => {
  for (const file of ['README.md', 'LICENSE'])
    expect(readFileSync(join(app, 'node_modules/@trpc-login', name, file), 'utf8').length).toBeGreaterThan(500)
})

test('the command of the tarball runs on plain Node', async () => {
  const migrated = await run(process.execPath, [COMMAND, 'migrate', '--json'], { cwd: app }).ended
  expect([migrated.stderr, migrated.code]).toEqual([`database: ${join(app, '.trpc-login/login.db')}\n`, 0])
  expect((await run(process.execPath, [COMMAND, '--help'], { cwd: app }).ended).stdout).toContain('TRPC_LOGIN_PORT')
})

const serverFails = (version: string) => `@trpc-login/server needs Node 24.15 or newer; this is ${version}`
const clientFails = (version: string) => `@trpc-login/client needs Node 22.19 or newer; this is ${version}`

const SERVER = ['server', 'server/testing', 'server/providers', 'server/config'] as const

test.runIf(existsSync(NODE_22)).each([
  ['Node 22.19', 'the server', NODE_22, [24, 15], serverFails, SERVER],
  ['the Node of the machine', 'the server', MACHINE_NODE, [24, 15], serverFails, SERVER],
  ['the Node of the machine', 'the client', MACHINE_NODE, [22, 19], clientFails, ['client', 'client/node']],
] as const)('on %s %s says in one sentence when that is too old', async (_name, _package, node, floor, fails, entries) => {
  const version = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().slice(1)
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const isTooOld = major < floor[0] || (major === floor[0] && minor < floor[1])
  for (const entry of entries) {
    const args = ['--no-warnings', '--input-type=module', '-e', `await import('@trpc-login/${entry}')`]
    const { code, stderr } = await run(node, args, { cwd: app }).ended
    expect([code, stderr.includes(fails(version))], entry).toEqual(isTooOld ? [1, true] : [0, false])
    // Nothing of the machinery is shown, but the line that Node quotes.
    expect(stderr, entry).not.toMatch(/^ {4}at |No such built-in|Cannot read/m)
  }
  if (fails === clientFails) return
  const { code, stderr } = await run(node, ['--no-warnings', COMMAND, '--help'], { cwd: app }).ended
  expect([code, stderr]).toEqual(isTooOld ? [1, `trpc-login: ${fails(version)}\n`] : [0, ''])
})

const migrate = () =>
  run(process.execPath, [COMMAND, 'migrate'], { cwd: app, env: { TRPC_LOGIN_DATABASE_URL: 'postgres://ada@127.0.0.1:1/login' } }).ended

test('PostgreSQL wants its driver installed, and says how', async () => {
  expect(await migrate()).toMatchObject({ code: 1, stderr: 'trpc-login: PostgreSQL needs the package pg; run: npm install pg\n' })
  installed.link('pg', join(ROOT, 'packages/server/node_modules/pg'))
  expect((await migrate()).stderr).toContain('nothing listens at postgres:')
})
