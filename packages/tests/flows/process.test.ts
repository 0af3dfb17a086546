import { execFile } from 'node:child_process'
import { readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { promisify } from 'node:util'
import { createClient } from '@trpc-login/client/node'
import { expect, test } from 'vitest'
import type { AppRouter } from '../../../examples/quickstart/server.ts'
import { developmentTls } from '../../server/src/http/development-tls.ts'
import { CLI, cli, ROOT, start, temporaryDirectory } from '../support/process.ts'
import { hasCurl } from '../support/tools.ts'

const QUICKSTART = join(ROOT, 'examples/quickstart/server.ts')
const FREE = { TRPC_LOGIN_PORT: '0' }
const urlIn = (stdout: string) => /listening on (\S+)/.exec(stdout)?.[1] ?? ''

function quickstartClient(url: string, dir: string) {
  return createClient<AppRouter>({ url, ca: readFileSync(join(dir, '.trpc-login/dev-ca.pem')) })
}

test('the quickstart says first where it listens, then how to try it', async () => {
  const cwd = temporaryDirectory()
  const server = start(QUICKSTART, [], { cwd, env: FREE })
  const stdout = await server.seen('authFunc')
  expect(stdout).toMatch(/^listening on https:\/\/127\.0\.0\.1:\d+\n/)
  for (const text of ['CA file: .trpc-login/dev-ca.pem', 'user01 / demo-passphrase-01', 'user03 / demo-passphrase-03'])
    expect(stdout).toContain(text)
})

test.runIf(hasCurl())('the curl lines that the quickstart prints work as pasted', async () => {
  const cwd = temporaryDirectory()
  const stdout = await start(QUICKSTART, [], { cwd, env: FREE }).seen('authFunc')
  const lines = stdout.split('\n').filter((line) => line.startsWith('  curl'))
  expect(lines).toHaveLength(2)
  const answers = []
  for (const line of lines)
    answers.push(JSON.parse((await promisify(execFile)('sh', ['-c', line.replace('curl', 'curl -s')], { cwd })).stdout))
  expect(answers).toMatchObject([
    { result: { data: { user: { username: 'user01' } } } },
    { result: { data: { ok: true, msg: 'auth_func({"a":1}),user_id=user01' } } },
  ])
})

test('the quickstart’s client script says what the README promises', async () => {
  const cwd = temporaryDirectory()
  const url = urlIn(await start(QUICKSTART, [], { cwd, env: FREE }).seen('authFunc'))
  const { stdout, code } = await start(join(ROOT, 'examples/quickstart/client.ts'), [], { cwd, env: { URL: url } }).ended
  expect(code).toBe(0)
  expect(stdout).toContain('refused: Sign in first')
  expect(stdout).toContain('hello user01')
  expect(stdout).toContain('auth_func({"a":1}),user_id=user01')
})

test('the quickstart’s files stay short enough to be read', () => {
  for (const file of ['server.ts', 'client.ts'])
    expect(readFileSync(join(ROOT, 'examples/quickstart', file), 'utf8').split('\n').length).toBeLessThan(40)
})

test('AD-4: demo users exist on loopback alone, and none of them is an admin', async () => {
  const cwd = temporaryDirectory()
  const url = urlIn(await start(QUICKSTART, [], { cwd, env: FREE }).seen('authFunc'))
  const { api, close } = quickstartClient(url, cwd)
  for (const n of ['01', '02', '03'])
    expect((await api.auth.login.mutate({ username: `user${n}`, password: `demo-passphrase-${n}` })).user.roles).toEqual([])
  await close()
  const [certificate, key] = [join(cwd, '.trpc-login/dev-cert.pem'), join(cwd, '.trpc-login/dev-key.pem')]
  const env = { ...FREE, TRPC_LOGIN_HOST: '0.0.0.0', TRPC_LOGIN_TLS_CERT: certificate, TRPC_LOGIN_TLS_KEY: key }
  const outside = start(QUICKSTART, [], { cwd: temporaryDirectory(), env })
  expect(await outside.seen('listening on')).not.toContain('demo user')
  const moved = await start(QUICKSTART, [], { cwd, env }).ended
  expect([moved.code, moved.stderr]).toEqual([1, expect.stringContaining('this database has demo users')])
})

test('ST-4: what is made at the first start is the owner’s alone, but for the CA certificate', async () => {
  const cwd = temporaryDirectory()
  await start(QUICKSTART, [], { cwd, env: FREE }).seen('listening on')
  const mode = (name: string) => (statSync(join(cwd, '.trpc-login', name)).mode & 0o777).toString(8)
  expect(['.', 'login.db', 'login.db-wal', 'dev-ca.pem', 'dev-ca-key.pem', 'dev-cert.pem', 'dev-key.pem'].map(mode)).toEqual([
    '700',
    '600',
    '600',
    '644',
    '600',
    '600',
    '600',
  ])
})

test('SIGTERM ends the server with 0, a restart keeps sessions and the authority', async () => {
  const cwd = temporaryDirectory()
  const first = start(QUICKSTART, [], { cwd, env: FREE })
  const store = new Map<string, { value: string; expiresAt: number | null }>()
  const shared = {
    load: async () => store.get('session') ?? null,
    save: async (_: string, cookie: { value: string; expiresAt: number | null } | null) => void (cookie && store.set('session', cookie)),
  }
  const ca = () => readFileSync(join(cwd, '.trpc-login/dev-ca.pem'))
  const one = createClient<AppRouter>({ url: urlIn(await first.seen('authFunc')), ca: ca(), store: shared })
  await one.api.auth.login.mutate({ username: 'user01', password: 'demo-passphrase-01' })
  await one.close()
  const before = ca()
  first.child.kill('SIGTERM')
  expect((await first.ended).code).toBe(0)

  const two = createClient<AppRouter>({
    url: urlIn(await start(QUICKSTART, [], { cwd, env: FREE }).seen('authFunc')),
    ca: before,
    store: shared,
  })
  expect((await two.api.authFunc.mutate({})).msg).toContain('user_id=user01')
  await two.close()
})

test('serve serves the auth router alone, and nobody is there until someone is added', async () => {
  const cwd = temporaryDirectory()
  const url = urlIn(await start(CLI, ['serve'], { cwd, env: FREE }).seen('listening on'))
  const { api, close } = quickstartClient(url, cwd)
  await expect(api.auth.login.mutate({ username: 'user01', password: 'demo-passphrase-01' })).rejects.toThrow(
    'Invalid username or password',
  )
  await expect(api.auth.register.mutate({ username: 'eve', password: 'correct horse battery' })).rejects.toThrow('Registration is closed')
  await expect(api.notauthFunc.mutate({})).rejects.toThrow('No procedure found')
  const added = await cli(['user', 'add', 'root', '--role', 'admin', '--password-stdin', '--json'], {
    cwd,
    input: 'correct horse battery\n',
  })
  expect([added.code, JSON.parse(added.stdout)]).toMatchObject([0, { username: 'root', roles: ['admin'] }])
  expect((await api.auth.login.mutate({ username: 'root', password: 'correct horse battery' })).user.roles).toEqual(['admin'])
  await close()
})

test.each([1, 2])(
  'TL-3 TL-4: own certificate files are used, and changed ones taken on SIGHUP without a restart, processes: %i',
  async (workers) => {
    const cwd = temporaryDirectory()
    const files = { cert: join(cwd, 'cert.pem'), key: join(cwd, 'key.pem') }
    const install = async (dir: string) => {
      const { cert, key } = await developmentTls(join(cwd, dir), '127.0.0.1', Date.now())
      writeFileSync(files.key, key, { mode: 0o600 })
      writeFileSync(files.cert, cert)
      return readFileSync(join(cwd, dir, 'dev-ca.pem'))
    }
    const before = await install('one')
    const env = { ...FREE, TRPC_LOGIN_TLS_CERT: files.cert, TRPC_LOGIN_TLS_KEY: files.key }
    const server = start(CLI, ['serve', '--workers', String(workers)], { cwd, env })
    const port = Number(new URL(urlIn(await server.seen('listening on'))).port)
    const trusts = (ca: Buffer) =>
      new Promise<boolean>((resolve) => {
        const socket = connect({ host: '127.0.0.1', port, ca }, () => resolve(socket.destroy() !== undefined)).on('error', () =>
          resolve(false),
        )
      })
    expect(await trusts(before)).toBe(true)
    const after = await install('two')
    server.child.kill('SIGHUP')
    // One process after the other takes a connection.
    const all = async () => (await Promise.all(Array.from({ length: 2 * workers }, () => trusts(after)))).every(Boolean)
    await expect.poll(all, { timeout: 5000 }).toBe(true)
  },
)

test.each([
  ['a missing file', {}, 'c.pem cannot be read: ENOENT'],
  ['a file that is no certificate', { cert: 'nonsense' }, 'not a PEM certificate'],
  ['a key of another certificate', { mismatch: 'yes' }, 'the key does not belong to the certificate'],
])('TL-3: start is refused for %s', async (_name, { cert, mismatch }: { cert?: string; mismatch?: string }, message) => {
  const cwd = temporaryDirectory()
  const [one, two] = [
    await developmentTls(join(cwd, '1'), 'localhost', Date.now()),
    await developmentTls(join(cwd, '2'), 'localhost', Date.now()),
  ]
  if (cert !== undefined || mismatch !== undefined) writeFileSync(join(cwd, 'c.pem'), cert ?? one.cert)
  writeFileSync(join(cwd, 'k.pem'), mismatch === undefined ? one.key : two.key, { mode: 0o600 })
  const { code, stderr, stdout } = await cli(['serve'], { cwd, env: { TRPC_LOGIN_TLS_CERT: 'c.pem', TRPC_LOGIN_TLS_KEY: 'k.pem' } })
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain(message)
})

test('servers that start together on a fresh directory agree on one development authority', async () => {
  const dir = temporaryDirectory()
  writeFileSync(join(dir, 'dev-tls.lock'), '')
  utimesSync(join(dir, 'dev-tls.lock'), 0, 0)
  const pairs = await Promise.all(Array.from({ length: 8 }, () => developmentTls(dir, '127.0.0.1', Date.now())))
  expect(new Set(pairs.map(({ cert }) => cert)).size).toBe(1)
})

test('an application’s own server that cannot start says why in one sentence, and not to try again later', async () => {
  const program = join(import.meta.dirname, '../support/own-server.ts')
  const { code, stdout, stderr } = await start(program, ['postgres://login:the-secret@127.0.0.1:1/x'], { cwd: temporaryDirectory() }).ended
  expect([code, stdout, stderr]).toEqual([1, '', 'connect ECONNREFUSED 127.0.0.1:1\n'])
})
