import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createAuth, silentLog, sqliteStorage } from '@trpc-login/server'
import { expect, test } from 'vitest'
import { CLI, cli, run, start, temporaryDirectory } from '../support/process.ts'
import { caller, until, urlIn } from '../support/remote.ts'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'
import { hasNamespaces } from '../support/tools.ts'

const SCRIPT = join(import.meta.dirname, '../support/hold-lock.ts')

/** A data directory with a closed database of many users in it. */
async function makeDatabase() {
  const dir = temporaryDirectory()
  const path = join(dir, 'login.db')
  const auth = createAuth({ storage: sqliteStorage({ path }), log: silentLog })
  await auth.users.create({ username: 'ada', password: PASSWORD })
  for (let i = 0; i < 50; i += 1) await auth.users.create({ username: `user${i}`, name: 'x'.repeat(200) })
  await auth.close()
  return { dir, path, env: { TRPC_LOGIN_DATA_DIR: dir, TRPC_LOGIN_PORT: '0' } }
}

/** Runs `serve`, which must refuse, and leave the file as it is. */
async function expectRefusal(path: string, env: Record<string, string>, message: RegExp): Promise<void> {
  const before = existsSync(path) ? readFileSync(path) : null
  const { code, stdout, stderr } = await cli(['serve'], { cwd: temporaryDirectory(), env })
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toMatch(message)
  expect(stderr).not.toContain('    at ')
  if (before === null) expect(existsSync(path)).toBe(false)
  else expect(readFileSync(path).equals(before)).toBe(true)
}

test('ST-3: a damaged file is refused at the start, and doctor says so', async () => {
  const { path, env } = await makeDatabase()
  const file = openSync(path, 'r+')
  writeSync(file, Buffer.alloc(statSync(path).size - 4096, 0xa5), 0, undefined, 4096)
  closeSync(file)
  await expectRefusal(path, env, /malformed/)
  const doctor = await cli(['doctor'], { cwd: temporaryDirectory(), env })
  expect([doctor.code, doctor.stdout]).toEqual([1, expect.stringMatching(/FAIL database: .*(damaged|malformed)/)])
})

test('ST-3: damage in the middle of a file that is served is 503 where it is met, and never an empty answer', async () => {
  const { dir, path } = await makeDatabase()
  const db = new DatabaseSync(path)
  const { page } = db.prepare("select rootpage as page from sqlite_schema where name = 'users'").get() as { page: number }
  db.close()
  const file = openSync(path, 'r+')
  writeSync(file, Buffer.alloc(4096, 0xa5), 0, undefined, (page - 1) * 4096)
  closeSync(file)
  const storage = sqliteStorage({ path })
  const auth = createAuth({ storage, log: silentLog })
  const answers = []
  for (let i = 0; i < 50; i += 1)
    answers.push(
      await auth.users.findByUsername(`user${i}`).then(
        (user) => (user === null ? 'nobody' : 'found'),
        (error: { reason: string }) => error.reason,
      ),
    )
  expect(new Set(answers)).not.toContain('nobody')
  expect(new Set(answers)).toContain('unavailable')
  await auth.close()
  expect((await cli(['doctor'], { cwd: dir, env: { TRPC_LOGIN_DATA_DIR: dir } })).stdout).toContain('is damaged')
})

test('a file that was cut to nothing, or taken away from its log, is not replaced by an empty store', async () => {
  const { path, env } = await makeDatabase()
  truncateSync(path, 0)
  await expectRefusal(path, env, /is empty, as no database of ours is; restore a backup/)
  rmSync(path)
  writeFileSync(`${path}-wal`, 'what was written last', { mode: 0o600 })
  await expectRefusal(path, env, /is missing, and its log .* is not/)
})

test('ST-3: a file that may not be written is refused with the reason', async () => {
  const { path } = await makeDatabase()
  const script = join(import.meta.dirname, '../support/open-as-nobody.ts')
  // Root may write everything, so this asks as somebody else.
  const { stdout, code } = await start(script, [path], { cwd: temporaryDirectory() }).ended
  expect([code, stdout]).toEqual([0, `${path} cannot be written: EACCES`])
})

test('ST-3 ST-7: a file that another process holds locked is 503 within 2 s for writes, while reads go on, and all is well after', async () => {
  await using server = await startServer()
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const holder = start(SCRIPT, [server.file], { cwd: server.dir })
  await holder.seen('locked')
  const from = performance.now()
  const timed = (promise: Promise<{ status: number }>) => promise.then(({ status }) => ({ status, ms: performance.now() - from }))
  const [login, logout, read] = await Promise.all([
    timed(server.post('auth.login', { username: 'ada', password: PASSWORD })),
    timed(server.post('auth.logout', {}, { cookie })),
    timed(server.fetch('/api/guarded', { headers: { cookie } })),
  ])
  expect([login.status, logout.status, read.status]).toEqual([503, 503, 200])
  expect(Math.max(login.ms, logout.ms)).toBeLessThan(2600)
  // Nobody stands still for those who wait.
  expect(read.ms).toBeLessThan(700)
  holder.child.kill('SIGKILL')
  await holder.ended
  expect((await server.post('auth.login', { username: 'ada', password: PASSWORD })).status).toBe(200)
  expect((await server.fetch('/api/guarded', { headers: { cookie } })).status).toBe(200)
})

test.runIf(hasNamespaces())(
  'SS-7 ST-3: on a disk that is full writes are 503 and reads go on; with room again all is as before',
  async () => {
    const cwd = temporaryDirectory()
    const data = join(cwd, 'data')
    mkdirSync(data, { mode: 0o700 })
    const script =
      'mount -t tmpfs -o size=4m,mode=700 tmpfs "$0" && "$1" --conditions=@trpc-login/source "$2" user add ada --password-stdin && exec "$1" --conditions=@trpc-login/source "$2" serve'
    const server = run('unshare', ['--mount', '--map-root-user', 'sh', '-c', script, data, process.execPath, CLI], {
      cwd,
      env: { TRPC_LOGIN_DATA_DIR: data, TRPC_LOGIN_PORT: '0' },
      input: PASSWORD,
    })
    const url = urlIn(await server.seen('listening on'))
    // The disk is seen by that process alone, and through it.
    const disk = join('/proc', String(server.child.pid), 'root', data)
    const ada = caller(url, readFileSync(join(disk, 'dev-ca.pem'), 'utf8'))
    expect((await ada.login('ada')).status).toBe(200)
    const filler = join(disk, 'filler')
    expect(() => execFileSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4096'], { stdio: 'ignore' })).toThrow()
    const cookie = ada.cookie()
    const writes = async () => {
      const answers = [
        await caller(url, readFileSync(join(disk, 'dev-ca.pem'), 'utf8')).login('ada'),
        await ada.call('auth.account.update', { name: 'A' }),
      ]
      return answers.map(({ status, setsCookie }) => [status, setsCookie])
    }
    // The log has room for a few more until it grows.
    await until(async () => (await writes()).every(([status]) => status === 503))
    expect(await writes()).toEqual([
      [503, false],
      [503, false],
    ])
    await until(async () => (await ada.ready()) === 503)
    expect((await ada.me())?.user.username).toBe('ada')
    rmSync(filler)
    await until(async () => (await ada.ready()) === 200)
    expect((await ada.call('auth.account.update', { name: 'A' })).status).toBe(200)
    expect(ada.cookie()).toBe(cookie)
    expect((await ada.me())?.user.name).toBe('A')
  },
)

test('SH-6: a server whose database file was removed, or replaced, is not ready, and says why', async () => {
  for (const act of [(file: string) => renameSync(file, `${file}.away`), (file: string) => (rmSync(file), writeFileSync(file, ''))]) {
    await using server = await startServer()
    expect((await server.fetch('/readyz')).status).toBe(200)
    act(server.file)
    const failure = server.auth.storage.check().catch((error: Error) => (error.cause as Error).message)
    expect(await failure).toBe(`${server.file} was removed or replaced while it was open; stop all servers and restore it`)
    await until(async () => (await server.fetch('/readyz')).status === 503)
  }
})
