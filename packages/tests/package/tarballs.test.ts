import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { installTarballs } from '../support/installed.ts'
import { ROOT, run } from '../support/process.ts'

const HERE = join(ROOT, 'packages/tests')
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
  const server = run(process.execPath, ['existing-app.ts'], { cwd: app })
  const url = (await server.seen('/rpc')).trim()
  const { stdout, stderr, code } = await run(process.execPath, ['existing-client.ts', url], { cwd: app }).ended
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

test('the command of the tarball runs on plain Node', async () => {
  const command = 'node_modules/@trpc-login/server/dist/cli/main.js'
  const migrated = await run(process.execPath, [command, 'migrate', '--json'], { cwd: app }).ended
  expect([migrated.stderr, migrated.code]).toEqual(['', 0])
  expect((await run(process.execPath, [command, '--help'], { cwd: app }).ended).stdout).toContain('TRPC_LOGIN_PORT')
})

test('PostgreSQL wants its driver installed, and says how', async () => {
  const command = 'node_modules/@trpc-login/server/dist/cli/main.js'
  const migrate = () =>
    run(process.execPath, [command, 'migrate'], { cwd: app, env: { TRPC_LOGIN_DATABASE_URL: 'postgres://ada@127.0.0.1:1/login' } }).ended
  expect(await migrate()).toMatchObject({ code: 1, stderr: 'trpc-login: PostgreSQL needs the package pg; run: npm install pg\n' })
  installed.link('pg', join(ROOT, 'packages/server/node_modules/pg'))
  expect((await migrate()).stderr).toContain('ECONNREFUSED')
})
