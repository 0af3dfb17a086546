import { mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, run, start, temporaryDirectory } from '../support/process.ts'
import { hasCurl } from '../support/tools.ts'

const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const blocks = [...README.matchAll(/^```(\S+)(?: (\S+))?\n([\s\S]*?)^```/gm)].map(([, language, name, text]) => ({
  language,
  name,
  text: text ?? '',
}))

function block(test: (block: (typeof blocks)[number]) => boolean): string {
  const found = blocks.find(test)
  if (found === undefined) throw new Error('the README lacks a block that is tested')
  return found.text
}

/** The one change that a test makes: another test, or a developer, may have the port that the README names. */
function replacing(text: string, from: string, to: string): string {
  expect(text).toContain(from)
  return text.replaceAll(from, to)
}

function emptyProject(): string {
  const dir = temporaryDirectory()
  for (const name of ['@trpc-login/server', '@trpc-login/client', '@trpc/server', '@trpc/client']) {
    const path = join(dir, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    symlinkSync(join(ROOT, 'packages/tests/node_modules', name), path)
  }
  return dir
}

test('README: the server and the client run as printed', async () => {
  const cwd = emptyProject()
  const server = block(({ name }) => name === 'server.ts')
  writeFileSync(join(cwd, 'server.ts'), replacing(server, '{ auth, router: appRouter }', '{ auth, router: appRouter, port: 0 }'))
  const url = /listening on (\S+)/.exec(await start('server.ts', [], { cwd }).seen('listening on'))?.[1] ?? ''
  writeFileSync(
    join(cwd, 'client.ts'),
    replacing(
      block(({ name }) => name === 'client.ts'),
      'https://127.0.0.1:8443',
      url,
    ),
  )
  const { stdout, stderr, code } = await start('client.ts', [], { cwd }).ended
  expect([stderr, code]).toEqual(['', 0])
  expect(stdout).toBe('ada hello, ada\n')
})

test.runIf(hasCurl())('README: the lines for callers in any language work as pasted', async () => {
  const cwd = temporaryDirectory()
  const quickstart = start(join(ROOT, 'examples/quickstart/server.ts'), [], { cwd, env: { TRPC_LOGIN_PORT: '0' } })
  const port = /:(\d+)\n/.exec(await quickstart.seen('listening on'))?.[1] ?? ''
  const lines = replacing(
    block(({ text }) => text.startsWith('curl')),
    ':8443',
    `:${port}`,
  )
  const { stdout, code } = await run('sh', ['-ec', lines.replaceAll('curl ', 'curl -s ')], { cwd }).ended
  expect(code).toBe(0)
  expect(stdout).toContain('"username":"user01"')
  expect(stdout).toContain('auth_func({\\"a\\":1}),user_id=user01')
})

test('README: the lines for the first administrator work as pasted', async () => {
  const cwd = temporaryDirectory()
  mkdirSync(join(cwd, 'bin'))
  const command = `#!/bin/sh\nshift\nexec "${process.execPath}" --conditions=@trpc-login/source "${ROOT}/packages/server/src/cli/main.ts" "$@"\n`
  writeFileSync(join(cwd, 'bin/npx'), command, { mode: 0o755 })
  const env = { PATH: `${join(cwd, 'bin')}:${process.env['PATH'] ?? ''}`, PASSWORD: 'correct horse battery' }
  const { stdout, stderr, code } = await run('sh', ['-ec', block(({ text }) => text.includes('user add'))], { cwd, env }).ended
  expect([code, stderr]).toEqual([0, `database: ${join(realpathSync(cwd), '.trpc-login/login.db')}\n`])
  expect(stdout).toContain('root')
})

test('README: every link inside the project leads somewhere, and it stays short', () => {
  const links = [...README.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, path]) => path ?? '')
  expect(links.length).toBeGreaterThan(5)
  for (const path of links) expect(() => readFileSync(join(ROOT, path)), path).not.toThrow(/ENOENT/)
  const words = README.replaceAll(/^```[\s\S]*?^```/gm, '').split(/\s+/).length
  expect(words).toBeLessThan(400)
})
