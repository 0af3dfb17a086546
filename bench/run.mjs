// npm run bench [-- --ten-million] [-- --quick]: measures everything and writes docs/performance.md and its plots.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { startFlask, startNode } from './contestants.mjs'
import { startPostgres } from './postgres.mjs'

const root = dirname(import.meta.dirname)
const isQuick = process.argv.includes('--quick')
const sizes = [1e3, 1e5, 1e6, ...(process.argv.includes('--ten-million') ? [1e7] : [])]
const say = (text) => process.stderr.write(`${text}\n`)

prepare()
const { measureCalls, measureConnections, measureLogins, measureProcess, measureResolving, startGenerator } = await import('./measure.mjs')
const { measureProfile } = await import('./profile.mjs')
const { writeReport } = await import('./report.mjs')
const library = await import('../packages/server/dist/index.js')

const work = mkdtempSync(join(tmpdir(), 'trpc-login-bench-'))
const opened = []
try {
  const tls = await makeCertificate()
  const generator = startGenerator()
  opened.push(generator)
  const began = performance.now()
  const calls = await compareCalls(generator, tls)
  const logins = await measureLogins({ generator, tls, dir: directory('logins'), rounds: isQuick ? 1 : 7, seconds: 3, say })
  const resolving = await measureResolving({ dir: directory('resolve'), sizes: isQuick ? sizes.slice(0, 2) : sizes, lookups: 50_000, say })
  const memory = await measureProcess({ generator, tls, dir: directory('process'), sessions: 100_000, say })
  const connections = await measureConnections({ generator, tls, dir: directory('connections'), seconds: 2, say })
  const profile = await measureProfile({ generator, tls, dir: directory('profiled'), seconds: isQuick ? 3 : 10, say })
  writeReport({ root, calls, profile, logins, resolving, memory, connections, minutes: (performance.now() - began) / 60_000 })
  say('written: docs/performance.md')
} finally {
  for (const thing of opened.toReversed()) await thing.stop()
  rmSync(work, { recursive: true, force: true })
}
process.exit()

/** Every contestant at once, each waiting for its turn. */
async function compareCalls(generator, tls) {
  const servers = []
  const add = async (starting) => servers.push(await starting)
  try {
    await add(startNode('raw', 'raw.mjs', tls))
    await add(startNode('stock', 'stock.mjs', tls))
    await add(startNode('sqlite', 'ours.mjs', tls, { env: { DIR: directory('sqlite') } }))
    const postgres = 'postgresStorage' in library ? await startPostgres(directory('postgres')) : null
    if (postgres !== null) {
      opened.push(postgres)
      await add(startNode('postgres', 'ours.mjs', tls, { env: { DIR: directory('postgres-server'), DATABASE_URL: postgres.url } }))
    } else say('without PostgreSQL: no adapter, or no server to be found')
    await add(startNode('better-auth', 'better-auth.mjs', tls, { env: { DIR: directory('better-off'), CACHE: 'off' } }))
    await add(startNode('better-auth', 'better-auth.mjs', tls, { env: { DIR: directory('better-on'), CACHE: 'on' } }))
    await add(startNode('passport', 'passport.mjs', tls))
    await add(startNode('iron-session', 'iron-session.mjs', tls))
    if (existsSync('/usr/bin/gunicorn')) {
      await add(startFlask(tls, directory('flask'), 1))
      await add(startFlask(tls, directory('flask-two'), 2))
    } else say('without Flask-Login: no gunicorn')
    return await measureCalls({ generator, servers, tls, rounds: isQuick ? 2 : 15, warmUps: isQuick ? 1 : 3, seconds: 1, say })
  } finally {
    for (const server of servers) await server.stop()
  }
}

/** The packages built as users get them, and the peers, which live here alone. */
function prepare() {
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b'], { cwd: root, stdio: 'inherit' })
  const stamp = join(import.meta.dirname, 'node_modules', '.installed')
  const wanted = createHash('sha256')
    .update(readFileSync(join(import.meta.dirname, 'package-lock.json')))
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  say('installing the peers (once per lockfile) ...')
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    cwd: import.meta.dirname,
    stdio: ['ignore', 2, 2],
  })
  if (status !== 0) process.exit(1)
  writeFileSync(stamp, wanted)
}

/** One certificate for all, made as the library makes one for development. */
async function makeCertificate() {
  const dir = directory('tls')
  const auth = library.createAuth({ storage: library.sqliteStorage({ path: ':memory:' }), log: library.silentLog })
  await (await library.createServer({ auth, router: auth.router, port: 0, tls: { developmentDir: dir } })).close()
  const [cert, key, ca] = ['dev-cert.pem', 'dev-key.pem', 'dev-ca.pem'].map((name) => join(dir, name))
  return { cert, key, ca: readFileSync(ca, 'utf8') }
}

function directory(name) {
  const dir = join(work, name)
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  return dir
}
