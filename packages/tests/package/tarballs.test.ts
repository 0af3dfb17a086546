import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ROOT, run } from '../support/process.ts'

const { pack } = (await import(join(ROOT, 'scripts/pack.mjs'))) as { pack(name: string, work: string): { unpacked: string } }

const HERE = join(ROOT, 'packages/tests')
let app = ''

/** A directory outside the workspace that holds what a user would have after installing the two tarballs. */
beforeAll(() => {
  app = realpathSync(mkdtempSync(join(tmpdir(), 'trpc-login-user-')))
  writeFileSync(join(app, 'package.json'), JSON.stringify({ type: 'module' }))
  cpSync(join(HERE, 'package/user'), app, { recursive: true })
  for (const name of ['server', 'client']) {
    const { unpacked } = pack(name, app)
    const manifest = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8')) as Record<string, Record<string, string>>
    const optional = Object.keys(manifest['peerDependenciesMeta'] ?? {})
    for (const dependency of Object.keys({ ...manifest['dependencies'], ...manifest['peerDependencies'] }))
      if (!optional.includes(dependency)) link(dependency, join(ROOT, 'packages', name, 'node_modules', dependency))
  }
  link('@types/node', join(HERE, 'node_modules/@types/node'))
}, 60_000)

afterAll(() => rmSync(app, { recursive: true, force: true }))

function link(name: string, target: string): void {
  const path = join(app, 'node_modules', name)
  mkdirSync(dirname(path), { recursive: true })
  rmSync(path, { recursive: true, force: true })
  symlinkSync(realpathSync(target), path)
}

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
  link('pg', join(ROOT, 'packages/server/node_modules/pg'))
  expect((await migrate()).stderr).toContain('ECONNREFUSED')
})
