import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, inject, test } from 'vitest'
import { pack } from '../support/installed.ts'
import { freePort, ROOT, run, temporaryDirectory } from '../support/process.ts'
import { blocksOf } from '../support/readme.ts'
import { hasCurl } from '../support/tools.ts'

const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const blocks = blocksOf('README.md')
type Texts = [string, string, string, string, string, string, string]
// All of them, in their order: one that is added wants a test.
const [commands, install, server, client, curl, embed, admin] = blocks.map(({ text }) => text) as Texts

/** The one change that a test makes: another test, or a developer, may have the port that the README names. */
function replacing(text: string, from: string, to: string): string {
  expect(text).toContain(from)
  return text.replaceAll(from, to)
}

const namesToInstall = () => /^npm install (.*)$/m.exec(install)?.[1]?.split(' ') ?? []

/** A project as the second block makes it, with this checkout's packages. */
function newProject(): string {
  const dir = temporaryDirectory()
  for (const name of namesToInstall()) {
    const path = join(dir, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(join(ROOT, 'packages/tests/node_modules', name), path)
  }
  writeFileSync(join(dir, 'package.json'), '{}')
  execFileSync('sh', ['-ec', install.replace(/^npm install .*\n/, '')], { cwd: dir, env: { ...process.env, HOME: dir } })
  return dir
}

/** Runs the two files as the README says, and leaves the server running. */
async function runBoth(cwd: string, flags: readonly string[] = []) {
  const port = await freePort()
  writeFileSync(join(cwd, 'server.ts'), replacing(server, '{ auth, router: appRouter }', `{ auth, router: appRouter, port: ${port} }`))
  writeFileSync(join(cwd, 'client.ts'), replacing(client, ':8443', `:${port}`))
  const [, nodeServer = '', nodeClient = ''] = /Run `(.*?)`.*second terminal `(.*?)`/.exec(README) ?? []
  const node = (command: string) => run(process.execPath, [...flags, command.replace(/^node /, '')], { cwd })
  await node(nodeServer).seen('listening on')
  return { port, runClient: () => node(nodeClient).ended }
}

const fromSource = ['--conditions=@trpc-login/source']
const printed = { code: 0, stdout: 'ada hello, ada\n', stderr: '' }

test('README: the two commands are scripts of the checkout', () => {
  expect(blocks).toHaveLength(7)
  expect(commands.match(/^npm \S+/gm)).toEqual(['npm start', 'npm test'])
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
  expect(scripts).toMatchObject({ start: expect.any(String), test: expect.any(String) })
})

test('README: what is installed is the two packages and all that they ask for beside them', () => {
  const peers = ['server', 'client'].flatMap((name) => {
    const text = readFileSync(join(ROOT, 'packages', name, 'package.json'), 'utf8')
    const { peerDependencies, peerDependenciesMeta = {} } = JSON.parse(text) as Record<string, Record<string, { optional?: boolean }>>
    return Object.keys(peerDependencies ?? {}).filter((peer) => peerDependenciesMeta[peer]?.optional !== true)
  })
  expect(namesToInstall().toSorted()).toEqual([...new Set(['@trpc-login/server', '@trpc-login/client', ...peers])].toSorted())
})

test('README: the server and the client run as printed, the client again and again', async () => {
  const cwd = newProject()
  const { runClient } = await runBoth(cwd, fromSource)
  expect(await runClient()).toEqual(printed)
  expect(await runClient()).toEqual(printed)
})

test('README: the server and the client are typed as printed', async () => {
  const cwd = newProject()
  writeFileSync(join(cwd, 'server.ts'), server)
  writeFileSync(join(cwd, 'client.ts'), client)
  const tsc = join(ROOT, 'packages/tests/node_modules/typescript/bin/tsc')
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2024', '--allowImportingTsExtensions', '--skipLibCheck']
  const types = ['--types', 'node', '--typeRoots', join(ROOT, 'packages/tests/node_modules/@types')]
  const args = [tsc, ...options, ...types, '--customConditions', '@trpc-login/source', 'client.ts']
  expect(await run(process.execPath, args, { cwd }).ended).toEqual({ code: 0, stdout: '', stderr: '' })
})

test.runIf(inject('complete'))(
  'README: the packed packages install as printed, from the registry, and run',
  { timeout: 120_000 },
  async () => {
    const cwd = temporaryDirectory()
    const packed = (name: 'server' | 'client') => pack(name, cwd).tarball
    const line = install.replace('@trpc-login/server', packed('server')).replace('@trpc-login/client', packed('client'))
    execFileSync('sh', ['-ec', line], { cwd, stdio: 'pipe' })
    const { runClient } = await runBoth(cwd)
    expect(await runClient()).toEqual(printed)
  },
)

test.runIf(hasCurl())('README: the lines for callers in any language work as pasted', async () => {
  const cwd = newProject()
  const { port, runClient } = await runBoth(cwd, fromSource)
  await runClient()
  const lines = replacing(curl, ':8443', `:${port}`)
  const { stdout, code } = await run('sh', ['-ec', lines.replaceAll('curl ', 'curl -s ')], { cwd }).ended
  expect(code).toBe(0)
  expect(stdout).toContain('"username":"ada"')
  expect(stdout).toContain('{"result":{"data":"hello, ada"}}')
})

test('README: an application that is there already serves the same router by the lines printed', async () => {
  const cwd = newProject()
  const port = await freePort()
  const before = `const db = {}\n${server.replace(/^await .*$/m, '')}`
  const after = replacing(embed, '.listen(3000)', `.listen(${port}, '127.0.0.1', () => console.log('ready'))`)
  writeFileSync(join(cwd, 'app.ts'), before + after)
  await run(process.execPath, [...fromSource, 'app.ts'], { cwd }).seen('ready')
  const call = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}/${path}`, { headers: { accept: 'application/json' } })
    return [response.status, await response.text()]
  }
  expect(await call('hello')).toEqual([200, expect.stringContaining('hello, whoever you are')])
  expect(await call('mine')).toEqual([401, expect.stringContaining('not_signed_in')])
})

test('README: the lines for the first administrator work as pasted', async () => {
  const cwd = temporaryDirectory()
  mkdirSync(join(cwd, 'bin'))
  const command = `#!/bin/sh\nshift\nexec "${process.execPath}" --conditions=@trpc-login/source "${ROOT}/packages/server/src/cli/main.ts" "$@"\n`
  writeFileSync(join(cwd, 'bin/npx'), command, { mode: 0o755 })
  const env = { PATH: `${join(cwd, 'bin')}:${process.env['PATH'] ?? ''}`, PASSWORD: 'correct horse battery' }
  const { stdout, stderr, code } = await run('sh', ['-ec', admin], { cwd, env }).ended
  const database = `database: ${join(realpathSync(cwd), '.trpc-login/login.db')}\n`
  expect([code, stderr.replaceAll(database, '')]).toEqual([0, ''])
  expect(stdout).toContain('root')
})

test('README: every link inside the project leads somewhere, and it stays short', () => {
  const links = [...README.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, path]) => path ?? '')
  expect(links.length).toBeGreaterThan(5)
  for (const path of links) expect(() => readFileSync(join(ROOT, path)), path).not.toThrow(/ENOENT/)
  const words = README.replaceAll(/^```[\s\S]*?^```/gm, '').split(/\s+/).length
  expect(words).toBeLessThan(400)
})

test('each published package has a README of its own, whose code is the project’s', () => {
  const known = new Set(blocks.map(({ text }) => text))
  for (const name of ['server', 'client']) {
    const own = blocksOf(`packages/${name}/README.md`)
    expect(own.length).toBeGreaterThan(0)
    for (const { text } of own) expect(known).toContain(text)
  }
})
