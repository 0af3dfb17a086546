import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { expect, inject, onTestFinished, test } from 'vitest'
import { CLI, freePort, ROOT, run, start, temporaryDirectory } from '../support/process.ts'
import { caller, urlIn } from '../support/remote.ts'

const QUICKSTART = join(ROOT, 'examples/quickstart/server.ts')
const NOWHERE = 'postgres://ada@127.0.0.1:1/login'
const USER = { username: 'user01', password: 'demo-passphrase-01' }

/** `npm start` in this checkout, with data and port of its own; in a process group of its own where that can be. */
async function npmStart(dir: string, port: number) {
  const env = { HOME: dir, TRPC_LOGIN_DATA_DIR: dir, TRPC_LOGIN_PORT: String(port) }
  const command = process.platform === 'linux' ? ['setsid', 'npm', 'start'] : ['npm', 'start']
  const npm = run(command[0] ?? '', command.slice(1), { cwd: ROOT, env })
  const url = urlIn(await npm.seen('authFunc'))
  return { npm, call: caller(url, readFileSync(join(dir, 'dev-ca.pem'), 'utf8')) }
}

async function untilClosed(port: number): Promise<void> {
  const accepts = () =>
    new Promise<boolean>((resolve) => {
      const probe = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => resolve(true)).on('error', () => resolve(false))
      onTestFinished(() => void probe.destroy())
    })
  while (await accepts()) await sleep(50)
}

/** A port that stays taken until the test ends. */
async function takenPort(): Promise<number> {
  const blocker = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void blocker.close())
  await once(blocker, 'listening')
  return (blocker.address() as { port: number }).port
}

test.runIf(inject('complete'))(
  'npm start in a fresh clone installs what it needs, and none of what the tests need',
  { timeout: 300_000 },
  async () => {
    const dir = temporaryDirectory()
    const clone = join(dir, 'clone')
    execFileSync('git', ['clone', '--quiet', ROOT, clone])
    const env = { HOME: dir, TRPC_LOGIN_PORT: '0' }
    await run('npm', ['start'], { cwd: clone, env }).seen('authFunc')
    expect(readdirSync(join(clone, 'node_modules')).filter((name) => !name.startsWith('.'))).toEqual(['@trpc', 'pg'])
    const { stderr } = await run('npm', ['run', '-s', 'trpc-login', '--', 'migrate'], {
      cwd: clone,
      env: { ...env, TRPC_LOGIN_DATABASE_URL: NOWHERE },
    }).ended
    expect(stderr).toContain('nothing listens at postgres://127.0.0.1:1/login')
  },
)

const NODE_22 = join(ROOT, 'packages/tests/node_modules/node-22/bin/node')

test.runIf(existsSync(NODE_22))('what the Node that npm brought lacks on this system is said in one sentence', async () => {
  const dir = temporaryDirectory()
  const bin = join(dir, 'node/node_modules', `node-${process.platform}-${process.arch}`, 'bin')
  mkdirSync(bin, { recursive: true })
  cpSync(join(ROOT, 'scripts/node.mjs'), join(dir, 'node.mjs'))
  const said = 'node: error while loading shared libraries: libatomic.so.1: cannot open shared object file: No such file or directory'
  writeFileSync(join(bin, 'node'), `#!/bin/sh\necho '${said}' >&2\nexit 127\n`, { mode: 0o755 })
  const { code, stderr } = await run(NODE_22, ['--input-type=module', '-e', "(await import('./node.mjs')).checkNode()"], { cwd: dir }).ended
  const sentence = 'Node >= 24.15 is needed; the Node that npm brought does not start: libatomic.so.1 is missing on this system\n'
  expect([code, stderr]).toEqual([1, sentence])
})

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'a server whose npm is ended by %s ends too, and the next npm start has its port',
  async (signal) => {
    const [dir, port] = [temporaryDirectory(), await freePort()]
    const first = await npmStart(dir, port)
    first.npm.child.kill(signal)
    await untilClosed(port)
    const second = await npmStart(dir, port)
    expect((await second.call.login(USER.username, USER.password)).status).toBe(200)
    await Promise.all([first.call.close(), second.call.close()])
  },
)

test('a program whose starter is killed stops as it would for a signal', async () => {
  const cwd = temporaryDirectory()
  const starter = run(process.execPath, [join(ROOT, 'scripts/run.mjs'), 'examples/quickstart/server.ts'], {
    cwd,
    env: { TRPC_LOGIN_PORT: '0' },
  })
  const port = Number(new URL(urlIn(await starter.seen('listening on'))).port)
  starter.child.kill('SIGKILL')
  await untilClosed(port)
})

test.runIf(process.platform === 'linux')('SH-1: a signal to npm and all that it started lets a request in flight finish', async () => {
  const [dir, port] = [temporaryDirectory(), await freePort()]
  const { npm, call } = await npmStart(dir, port)
  const socket = connect({ host: '127.0.0.1', port, ca: readFileSync(join(dir, 'dev-ca.pem')) })
  await once(socket, 'secureConnect')
  const body = JSON.stringify(USER)
  socket.write(`POST /api/auth.login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`)
  socket.write(body.slice(0, 9))
  // The server has the head once it answers another call that came after it.
  await call.me()
  process.kill(-(npm.child.pid ?? 0), 'SIGTERM')
  await untilClosed(port)
  // By now the starter has noticed that npm is gone.
  await sleep(600)
  socket.write(body.slice(9))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
  await call.close()
})

test.each([
  ['the quickstart', QUICKSTART, []],
  ['trpc-login serve', CLI, ['serve']],
])('%s says in one line that its port is taken', async (_name, program, args) => {
  const port = await takenPort()
  const { code, stdout, stderr } = await start(program, args, { cwd: temporaryDirectory(), env: { TRPC_LOGIN_PORT: String(port) } }).ended
  expect([code, stdout]).toEqual([1, ''])
  const lines = stderr.trim().split('\n')
  // Beside what the log says as JSON.
  expect(lines.filter((line) => !line.startsWith('{'))).toEqual([
    expect.stringMatching(new RegExp(`cannot listen on 127\\.0\\.0\\.1:${port}: the port is taken by another process \\(EADDRINUSE\\)$`)),
  ])
})

test.each([
  ['the quickstart', QUICKSTART, []],
  ['trpc-login serve', CLI, ['serve']],
  ['trpc-login serve with two workers', CLI, ['serve', '--workers', '2']],
])('%s goes on when nobody reads its standard output any more', async (_name, program, args) => {
  const [cwd, port] = [temporaryDirectory(), await freePort()]
  const server = start(program, args, { cwd, env: { TRPC_LOGIN_PORT: String(port) } })
  server.child.stdout?.destroy()
  const call = async () => caller(`https://127.0.0.1:${port}`, readFileSync(join(cwd, '.trpc-login/dev-ca.pem'), 'utf8')).me()
  let answer: unknown = 'none yet'
  while (answer === 'none yet' && server.child.exitCode === null) answer = await call().catch(() => sleep(50, 'none yet'))
  expect(answer).toBe(null)
  server.child.kill('SIGTERM')
  const { code, stderr } = await server.ended
  expect([code, stderr]).toEqual([0, expect.not.stringContaining('EPIPE')])
})
