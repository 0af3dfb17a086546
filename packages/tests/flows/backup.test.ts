import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as yieldOnce } from 'node:timers/promises'
import { createAuth, silentLog, sqliteStorage } from '@trpc-login/server'
import { expect, onTestFinished, test } from 'vitest'
import { CLI, cli, run, start, temporaryDirectory } from '../support/process.ts'
import { caller, urlIn } from '../support/remote.ts'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'
import { hasNamespaces } from '../support/tools.ts'

const FREE = { TRPC_LOGIN_PORT: '0' }

test('ST-9: a backup made while four write holds every user of one instant and no half of a change', async () => {
  const cwd = temporaryDirectory()
  const env = { TRPC_LOGIN_DATA_DIR: cwd }
  const storage = sqliteStorage({ path: join(cwd, 'login.db') })
  onTestFinished(() => storage.close())
  const auth = createAuth({ storage, log: silentLog })
  const stop = new AbortController()
  let written = 0
  const writers = Array.from({ length: 4 }, async (_, writer) => {
    for (let n = 0; !stop.signal.aborted; n += 1) {
      await auth.users.create({ username: `w${writer}-${n}` })
      written += 1
      // The engine answers at once: nothing else would ever come to its turn.
      await yieldOnce()
    }
  })
  const backups = []
  for (const name of ['one.db', 'two.db']) backups.push(await cli(['backup', name, '--json'], { cwd, env }))
  stop.abort()
  await Promise.all(writers)
  expect(written).toBeGreaterThan(20)
  expect(backups.map(({ code, stderr }) => [code, stderr])).toEqual([
    [0, `database: ${cwd}/login.db\n`],
    [0, `database: ${cwd}/login.db\n`],
  ])
  for (const name of ['one.db', 'two.db']) {
    const file = join(cwd, name)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const copy = sqliteStorage({ path: file })
    const users = []
    for (let page = await copy.users.list({ search: null, limit: 100, after: null }); page.length > 0; ) {
      users.push(...page)
      page = await copy.users.list({ search: null, limit: 100, after: page.at(-1) ?? null })
    }
    // A user and its entry are one transaction: a copy has both or none.
    const created = await copy.audit.count('user_created', 0, Number.MAX_SAFE_INTEGER)
    expect([users.length > 0, [...created.values()]]).toEqual([true, [users.length]])
    await copy.close()
  }
  expect(readdirSync(cwd).filter((name) => name.includes('partial'))).toEqual([])
})

test('a backup replaces nothing, and says why there is none', async () => {
  const cwd = temporaryDirectory()
  const env = { TRPC_LOGIN_DATA_DIR: cwd }
  const missing = await cli(['backup', 'copy.db'], { cwd, env })
  expect([missing.code, missing.stderr]).toEqual([3, expect.stringContaining(`there is no database at ${join(cwd, 'login.db')}`)])
  const made = sqliteStorage({ path: join(cwd, 'login.db') })
  await made.check()
  await made.close()
  writeFileSync(join(cwd, 'copy.db'), 'mine')
  const there = await cli(['backup', 'copy.db'], { cwd, env })
  expect([there.code, there.stderr]).toEqual([
    1,
    expect.stringContaining(`\ntrpc-login: ${join(cwd, 'copy.db')} exists; it is not replaced\n`),
  ])
  expect(readFileSync(join(cwd, 'copy.db'), 'utf8')).toBe('mine')
  const nowhere = await cli(['backup', 'no/such/copy.db'], { cwd, env })
  expect([nowhere.code, nowhere.stderr]).toEqual([1, expect.stringContaining('no/such/copy.db cannot be written: ENOENT\n')])
  const postgres = await cli(['backup', 'copy.db'], { cwd, env: { TRPC_LOGIN_DATABASE_URL: 'postgres://ada:s3cr3t@db.example.com/login' } })
  expect([postgres.code, postgres.stderr]).toEqual([2, expect.stringContaining('pg_dump')])
  expect(postgres.stderr).not.toContain('s3cr3t')
})

test('ST-9 LO-5: a restored backup has the users of its day, and session revoke --all ends the sessions that came back with it', async () => {
  const cwd = temporaryDirectory()
  const env = { TRPC_LOGIN_DATA_DIR: cwd, ...FREE }
  const auth = createAuth({ storage: sqliteStorage({ path: join(cwd, 'login.db') }), log: silentLog })
  await auth.users.create({ username: 'ada', password: PASSWORD })
  const first = start(CLI, ['serve'], { cwd, env })
  const url = urlIn(await first.seen('listening on'))
  const ca = readFileSync(join(cwd, 'dev-ca.pem'), 'utf8')
  const ada = caller(url, ca)
  await ada.login('ada')
  const cookie = ada.cookie()
  expect((await cli(['backup', 'monday.db'], { cwd, env })).code).toBe(0)
  expect((await ada.call('auth.logout', {})).status).toBe(200)
  await auth.users.create({ username: 'eve' })
  await auth.close()
  first.child.kill('SIGTERM')
  await first.ended

  for (const ending of ['', '-wal', '-shm']) rmSync(join(cwd, `login.db${ending}`), { force: true })
  copyFileSync(join(cwd, 'monday.db'), join(cwd, 'login.db'))
  const revoked = await cli(['session', 'revoke', '--all'], { cwd, env })
  expect([revoked.code, revoked.stdout]).toEqual([0, 'ended 1 session\n'])
  const second = start(CLI, ['serve'], { cwd, env })
  const again = urlIn(await second.seen('listening on'))
  expect((await caller(again, ca, cookie).call('auth.sessions.list')).status).toBe(401)
  expect((await caller(again, ca).login('ada')).status).toBe(200)
  expect((await cli(['user', 'show', 'eve'], { cwd, env })).code).toBe(3)
})

test('session revoke wants a user or --all, and not both', async () => {
  for (const args of [[], ['ada', '--all']]) {
    const { code, stderr } = await cli(['session', 'revoke', ...args], { cwd: temporaryDirectory() })
    expect([code, stderr]).toEqual([2, expect.stringContaining('name a user, or pass --all')])
  }
})

test('ST-9: a clock that jumps ahead and back revives no session that was refused, and signs nobody out for good', async () => {
  await using server = await startServer()
  const login = async (username: string) => cookieOf((await server.post('auth.login', { username, password: PASSWORD })).headers)
  const [seen, unseen] = [await login('ada'), await login('bob')]
  const status = async (cookie: string) => (await server.fetch('/api/guarded', { headers: { cookie } })).status
  server.clock.advance(2 * 86_400_000)
  expect(await status(seen)).toBe(401)
  await server.auth.sessions.purge()
  server.clock.advance(-2 * 86_400_000)
  // Purged or ended: either way it stays out. Nobody asked about the other one, and its time had not come.
  expect(await status(seen)).toBe(401)
  expect([200, 401]).toContain(await status(unseen))
  const later = await login('ada')
  server.clock.advance(2 * 3_600_000)
  expect(await status(later)).toBe(401)
  server.clock.advance(-2 * 3_600_000)
  expect(await status(later)).toBe(401)
})

test('ST-9: what was locked, or proved, by a clock that ran ahead is neither once it is right again', async () => {
  await using server = await startServer({ limits: { failuresPerAddress: 20, callsPerAddress: 10_000 } })
  const login = (username: string, password: string) => server.post('auth.login', { username, password })
  server.clock.advance(365 * 86_400_000)
  const early = cookieOf((await login('bob', PASSWORD)).headers)
  for (let i = 0; i < 7; i += 1) await login('ada', 'a wrong password')
  for (let i = 0; i < 20; i += 1) await login(`nobody${i}`, 'a wrong password')
  expect((await login('bob', PASSWORD)).status).toBe(429)
  server.clock.advance(-365 * 86_400_000)
  expect((await login('ada', PASSWORD)).status).toBe(200)
  const fresh = await server.fetch('/api/fresh', { headers: { cookie: early, accept: 'application/json' } })
  expect(fresh.status).toBe(403)
})

test.runIf(hasNamespaces)('a backup to a full disk says which disk is full, and leaves nothing there', async () => {
  const cwd = temporaryDirectory()
  await sqliteStorage({ path: join(cwd, 'login.db') }).check()
  const target = join(cwd, 'target')
  mkdirSync(target)
  const script = 'mount -t tmpfs -o size=64k tmpfs "$0" && "$1" --conditions=@trpc-login/source "$2" backup "$0/copy.db"; echo $?; ls "$0"'
  const { stdout, stderr } = await run('unshare', ['--mount', '--map-root-user', 'sh', '-c', script, target, process.execPath, CLI], {
    cwd,
    env: { TRPC_LOGIN_DATA_DIR: cwd },
  }).ended
  expect([stdout, stderr]).toEqual(['1\n', expect.stringContaining(`trpc-login: ${target}/copy.db cannot be written: its disk is full\n`)])
})
