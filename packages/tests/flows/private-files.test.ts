import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createAuth, createServer, silentLog, sqliteStorage } from '@trpc-login/server'
import { expect, onTestFinished, test, vi } from 'vitest'
import { developmentTls } from '../../server/src/http/development-tls.ts'
import { readKeyPair, watchKeyPair } from '../../server/src/http/tls.ts'
import { CLI, cli, run, start, temporaryDirectory } from '../support/process.ts'
import { caller, urlIn } from '../support/remote.ts'
import { DAY, HOUR } from '../support/server.ts'
import { hasNamespaces } from '../support/tools.ts'

const FREE = { TRPC_LOGIN_PORT: '0' }

/** A certificate and its key in files of their own, as an operator puts them. */
async function makeCertificate({ mode = 0o600, from = Date.now() } = {}) {
  const cwd = temporaryDirectory()
  const { cert, key, caFile } = await developmentTls(join(cwd, 'authority'), '127.0.0.1', from)
  const files = { certFile: join(cwd, 'cert.pem'), keyFile: join(cwd, 'key.pem') }
  const install = (nextCert: string, nextKey: string) => {
    writeFileSync(files.certFile, nextCert)
    writeFileSync(files.keyFile, nextKey, { mode: 0o600 })
    chmodSync(files.keyFile, mode)
  }
  install(cert, key)
  return { cwd, caFile, ...files, install, env: { ...FREE, TRPC_LOGIN_TLS_CERT: files.certFile, TRPC_LOGIN_TLS_KEY: files.keyFile } }
}

test('ST-4 AU-4: a key that every user can read is refused, with what mends it', async () => {
  const { cwd, env, certFile, keyFile } = await makeCertificate()
  const refusal = (mode: number) => `${keyFile} can be read by other users (mode ${mode.toString(8)}); run: chmod 600 ${keyFile}`
  for (const mode of [0o604, 0o444, 0o666, 0o644]) {
    chmodSync(keyFile, mode)
    expect(() => readKeyPair(certFile, keyFile, Date.now())).toThrow(refusal(mode))
  }
  const { code, stdout, stderr } = await cli(['serve'], { cwd, env })
  expect([code, stdout, stderr]).toEqual([1, '', expect.stringContaining(`trpc-login: ${refusal(0o644)}\n`)])
})

test('ST-4 AU-4: a key of root’s that a group can read is taken, as containers mount it, and one’s own is not', async () => {
  const { certFile, keyFile } = await makeCertificate({ mode: 0o640 })
  const read = () => readKeyPair(certFile, keyFile, Date.now())
  if (process.getuid?.() === 0) expect(read().key).toContain('PRIVATE KEY')
  else expect(read).toThrow(`run: chmod 600 ${keyFile}`)
})

test.runIf(process.getuid?.() === 0)(
  'who owns neither the file nor the directory is told what its owner must do, or what they can do',
  async () => {
    const { cwd, keyFile } = await makeCertificate({ mode: 0o644 })
    const volume = join(cwd, 'volume')
    mkdirSync(volume)
    chmodSync(volume, 0o2775)
    const judge = async () => {
      const { stdout } = await start(join(import.meta.dirname, '../support/judge-as-nobody.ts'), [keyFile, volume], { cwd }).ended
      return JSON.parse(stdout) as (string | null)[]
    }
    expect(await judge()).toEqual([
      `${keyFile} can be read by other users (mode 644); have its owner, uid 0, run: chmod 640 ${keyFile}; a mounted secret gets mode 0440 and your group where it is mounted`,
      `${volume} can be entered by other users (mode 2775); it belongs to uid 0; name a directory inside of it, which is made for you alone, such as ${volume}/trpc-login`,
    ])
    chmodSync(keyFile, 0o440)
    expect((await judge())[0]).toBe(null)
  },
)

test('AU-4: files of settings that hold secrets are refused where others can read them', async () => {
  const cwd = temporaryDirectory()
  for (const [name, text] of [
    ['PROVIDERS', '[]'],
    ['DATABASE_URL', 'postgres://login:the-secret@127.0.0.1:1/login'],
  ] as const) {
    const file = join(cwd, name)
    writeFileSync(file, text)
    chmodSync(file, 0o644)
    const { code, stderr } = await cli(['doctor'], { cwd, env: { [`TRPC_LOGIN_${name}_FILE`]: file } })
    expect([code, stderr]).toEqual([
      2,
      `trpc-login: TRPC_LOGIN_${name}_FILE: ${file} can be read by other users (mode 644); run: chmod 600 ${file}\n`,
    ])
  }
})

test('ST-4: in process, too, a directory that every user can write is refused for the database and for the development authority', async () => {
  const shared = join(temporaryDirectory(), 'shared')
  mkdirSync(shared)
  for (const mode of [0o777, 0o1777, 0o702]) {
    chmodSync(shared, mode)
    const message = `${shared} can be written by every user (mode ${mode.toString(8)}); run: chmod o-w ${shared}`
    await expect(sqliteStorage({ path: join(shared, 'login.db') }).check()).rejects.toThrow(message)
    const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog })
    await expect(createServer({ auth, router: auth.router, port: 0, tls: { developmentDir: shared } })).rejects.toThrow(message)
    await auth.close()
  }
  expect(readdirSync(shared)).toEqual([])
})

test('the key of the development authority goes through no link that somebody has put in its way, and none that others can read is used', async () => {
  const dir = temporaryDirectory()
  for (const name of ['dev-ca-key.pem', 'dev-ca.pem', 'dev-key.pem', 'dev-cert.pem'])
    symlinkSync(join(dir, `${name}.taken`), join(dir, `${name}.${process.pid}.tmp`))
  await developmentTls(dir, 'localhost', Date.now())
  expect(readdirSync(dir).filter((name) => name.endsWith('.taken'))).toEqual([])
  expect(lstatSync(join(dir, 'dev-ca-key.pem')).isFile()).toBe(true)
  chmodSync(join(dir, 'dev-ca-key.pem'), 0o644)
  await expect(developmentTls(dir, 'localhost', Date.now())).rejects.toThrow(`run: chmod 600 ${join(dir, 'dev-ca-key.pem')}`)
})

test('TL-3: a certificate that is not valid yet, or no longer, does not start', async () => {
  for (const [from, message] of [
    [Date.now() + 2 * HOUR, /cert\.pem: the certificate begins on .*, and that is to come; set the clock, or use another until then\n$/],
    [Date.now() - 400 * DAY, /cert\.pem: the certificate expired on .*; renew it\n$/],
  ] as const) {
    const { cwd, env } = await makeCertificate({ from })
    const { code, stdout, stderr } = await cli(['serve'], { cwd, env })
    expect([code, stdout, stderr]).toEqual([1, '', expect.stringMatching(message)])
  }
})

test('TL-4: a certificate that was put there before it begins is taken once it does, and a key that others can read is not', async () => {
  vi.useFakeTimers({ toFake: ['Date', 'setInterval', 'clearInterval'] })
  onTestFinished(() => void vi.useRealTimers())
  const { certFile, keyFile, install } = await makeCertificate()
  const [taken, problems]: [string[], string[]] = [[], []]
  const watch = watchKeyPair(
    certFile,
    keyFile,
    ({ cert }) => taken.push(cert),
    ({ message }) => problems.push(message),
  )
  onTestFinished(() => watch.stop())
  const later = await developmentTls(temporaryDirectory(), '127.0.0.1', Date.now() + 2 * HOUR)
  install(later.cert, later.key)
  watch.reload()
  expect([taken, problems]).toEqual([[], [expect.stringContaining('that is to come')]])
  vi.setSystemTime(Date.now() + 2 * HOUR)
  vi.advanceTimersByTime(60_000)
  expect(taken).toEqual([later.cert])
  chmodSync(keyFile, 0o644)
  watch.reload()
  expect([taken.length, problems.at(-1)]).toEqual([1, expect.stringContaining('can be read by other users')])
})

const refusalOf = (host: string) =>
  `a development certificate is for loopback addresses, and ${host} is none; give a certificate and its key`

test('the development certificate is served on loopback alone', async () => {
  const cwd = temporaryDirectory()
  const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog })
  for (const host of ['::', '192.0.2.1', 'login.example.com', '127.example.com', '::ffff:192.0.2.1'])
    await expect(createServer({ auth, router: auth.router, host, port: 0, tls: { developmentDir: cwd } })).rejects.toThrow(refusalOf(host))
  await auth.close()
  const { code, stdout, stderr } = await cli(['serve'], { cwd, env: { ...FREE, TRPC_LOGIN_HOST: '0.0.0.0' } })
  expect([code, stdout, stderr]).toEqual([1, '', expect.stringContaining(refusalOf('0.0.0.0'))])
  expect(existsSync(join(cwd, '.trpc-login/dev-ca.pem'))).toBe(false)
})

test.each(['localhost', '127.0.0.2', '::1', '::ffff:127.0.0.1'])('and it is served on %s', async (host) => {
  const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog })
  const server = await createServer({ auth, router: auth.router, host, port: 0, tls: { developmentDir: temporaryDirectory() } })
  expect(server.port).toBeGreaterThan(0)
  await server.close()
})

test.runIf(hasNamespaces())(
  'with database and certificate elsewhere everything else may be read-only: working directory, home, temporary directory',
  async () => {
    const { cwd, certFile, keyFile, caFile } = await makeCertificate()
    const data = join(cwd, 'data')
    mkdirSync(data, { mode: 0o700 })
    // A file system of its own for the database, and no other that can be written.
    const script = `mount -t tmpfs -o mode=700 tmpfs "$0" || exit 9
      while read -r _ at _; do [ "$at" = "$0" ] || mount -o remount,bind,ro "$at" 2>/dev/null; done </proc/self/mounts
      cd / && touch "$3/probe" 2>/dev/null && exit 8
      exec "$1" --conditions=@trpc-login/source "$2" serve`
    const env = {
      TRPC_LOGIN_PORT: '0',
      TRPC_LOGIN_DATABASE_URL: `sqlite:${data}/login.db`,
      TRPC_LOGIN_TLS_CERT: certFile,
      TRPC_LOGIN_TLS_KEY: keyFile,
      TRPC_LOGIN_REGISTRATION: 'open',
      TMPDIR: cwd,
    }
    const server = run('unshare', ['--mount', '--map-root-user', 'sh', '-c', script, data, process.execPath, CLI, cwd], { cwd, env })
    const url = urlIn(await server.seen('listening on'))
    const ann = caller(url, readFileSync(caFile, 'utf8'))
    expect((await ann.call('auth.register', { username: 'ann', password: 'correct horse battery' })).status).toBe(200)
    expect(await ann.ready()).toBe(200)
    server.child.kill('SIGTERM')
    expect((await server.ended).code).toBe(0)
    expect(readdirSync(cwd).toSorted()).toEqual(['authority', 'cert.pem', 'data', 'key.pem'])
  },
)
