// What writes of others cost a server with many open streams of account events, and what announcing costs sign-ins on PostgreSQL.
// STREAMS=1500 WRITES=100 node scripts/run.mjs packages/tests/load/streams.ts
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { initTRPC } from '@trpc/server'
import {
  type AuthContext,
  createAuth,
  createServer,
  formatAuthError,
  postgresStorage,
  type Storage,
  silentLog,
  sqliteStorage,
  transformer,
} from '@trpc-login/server'
import { Agent, fetch } from 'undici'
import { makeDatabase } from '../support/postgres-database.ts'
import { createPostgresServer } from '../support/postgres-server.ts'

const STREAMS = Number(process.env['STREAMS'] ?? 1500)
const WRITES = Number(process.env['WRITES'] ?? 100)
const CALLS = 3000
const MANY = { failuresPerAddress: 1e6, callsPerAddress: 1e6, signUpsPerAddress: 1e6 }

if (process.argv[2] === 'server') await serveHere(process.argv[3] as string)
else await measure()

async function serveHere(dir: string): Promise<void> {
  const auth = createAuth({ storage: sqliteStorage({ path: join(dir, 'login.db') }), log: silentLog, limits: MANY })
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const router = t.router({
    auth: auth.router,
    guarded: t.procedure.concat(auth.requireUser).query(() => 'ok'),
    cpu: t.procedure.query(() => {
      const { user, system } = process.cpuUsage()
      return user + system
    }),
  })
  const server = await createServer({
    auth,
    router,
    port: 0,
    tls: { developmentDir: dir },
    maxConnectionsPerAddress: 10_000,
    maxConnections: 10_000,
  })
  console.log(`listening on ${server.url}`)
}

async function measure(): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'trpc-login-streams-'))
  const storage = sqliteStorage({ path: join(dir, 'login.db') })
  const auth = createAuth({ storage, log: silentLog })
  const cookies: string[] = []
  for (let i = 0; i < STREAMS; i += 1) cookies.push(await signIn(auth, `user${i}`))
  const child = spawn(process.execPath, [...process.execArgv, import.meta.filename, 'server', dir], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  process.once('exit', () => child.kill('SIGKILL'))
  const url = await new Promise<string>((resolve) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => resolve(/listening on (\S+)/.exec(text)?.[1] ?? ''))
  })
  const ca = readFileSync(join(dir, 'dev-ca.pem'), 'utf8')
  const dispatcher = new Agent({ connect: { ca }, connections: 8 })
  const get = async (path: string, cookie = '') => {
    const response = await fetch(`${url}/api/${path}`, { headers: { cookie, accept: 'application/json' }, dispatcher })
    return ((await response.json()) as { result?: { data: number } }).result?.data ?? Number.NaN
  }
  /** Microseconds of the server's processor, all threads, beyond what it takes at rest. */
  const cpuOf = async (act: () => Promise<unknown>) => {
    const [idleFrom, idleAt] = [await get('cpu'), performance.now()]
    await sleep(2000)
    const rest = ((await get('cpu')) - idleFrom) / (performance.now() - idleAt)
    const [from, at] = [await get('cpu'), performance.now()]
    await act()
    // The last announcement is looked at within a tick.
    await sleep(400)
    return (await get('cpu')) - from - rest * (performance.now() - at)
  }
  const failedLogins = async () => {
    for (let i = 0; i < WRITES; i += 1) {
      const body = JSON.stringify({ username: `nobody${i}`, password: 'wrong horse battery' })
      const headers = { 'content-type': 'application/json' }
      await (await fetch(`${url}/api/auth.login`, { method: 'POST', body, headers, dispatcher })).text()
    }
  }
  // By another process, and each in a tick of its own.
  const strangersSignIn = async () => {
    for (let i = 0; i < WRITES; i += 1) {
      await signIn(auth, `stranger${i % 10}`)
      await sleep(100)
    }
  }
  const call =
    (await cpuOf(async () => {
      for (let i = 0; i < CALLS; i += 16) await Promise.all(Array.from({ length: 16 }, () => get('guarded', cookies[0])))
    })) / CALLS
  const without = { logins: await cpuOf(failedLogins), signIns: await cpuOf(strangersSignIn) }
  const sockets = await openStreams(Number(new URL(url).port), ca, cookies)
  await sleep(2000)
  const withThem = { logins: await cpuOf(failedLogins), signIns: await cpuOf(strangersSignIn) }
  console.log(`a protected call: ${call.toFixed(1)} us of CPU; ${sockets.length} streams of auth.events`)
  for (const kind of ['logins', 'signIns'] as const) {
    const each = (withThem[kind] - without[kind]) / WRITES / STREAMS
    const named = kind === 'logins' ? 'failed logins' : 'sign-ins of strangers by another process'
    console.log(
      `${WRITES} ${named}: ${each.toFixed(3)} us a stream and write, ${(each / call).toFixed(4)} of a protected call (goal: at most 0.03)`,
    )
  }
  for (const socket of sockets) socket.destroy()
  child.kill('SIGTERM')
  await auth.close()
  await dispatcher.destroy()
  rmSync(dir, { recursive: true, force: true })
  await announcing()
  process.exit()
}

async function signIn(auth: ReturnType<typeof createAuth>, username: string): Promise<string> {
  const user = (await auth.users.findByUsername(username)) ?? (await auth.users.create({ username }))
  const resHeaders = new Headers()
  await auth.createContext({ req: { headers: {} }, resHeaders }).auth.login(user)
  return resHeaders.getSetCookie()[0]?.split(';', 1)[0] ?? ''
}

async function openStreams(port: number, ca: string, cookies: readonly string[]): Promise<TLSSocket[]> {
  const sockets: TLSSocket[] = []
  for (let from = 0; from < cookies.length; from += 50) {
    const opened = cookies.slice(from, from + 50).map(
      (cookie) =>
        new Promise<TLSSocket>((resolve, reject) => {
          const socket = connect({ host: '127.0.0.1', port, ca }, () =>
            socket.write(`GET /api/auth.events HTTP/1.1\r\nHost: x\r\nCookie: ${cookie}\r\nAccept: text/event-stream\r\n\r\n`),
          )
          socket.once('data', () => resolve(socket.resume())).once('error', reject)
        }),
    )
    sockets.push(...(await Promise.all(opened)))
  }
  return sockets
}

/** Sign-ins a second through the store, of 16 at once and many users, with the announcement and, by a trigger, without. */
async function announcing(): Promise<void> {
  const server = await createPostgresServer({ durable: true })
  const { url } = await makeDatabase(server.url('postgres'))
  const storage: Storage = postgresStorage({ url })
  await storage.migrate()
  const auth = createAuth({ storage, log: silentLog, session: { maxPerUser: 1000 } })
  const users = await Promise.all(Array.from({ length: 200 }, (_, i) => auth.users.create({ username: `user${i}`, password: undefined })))
  const rate = async () => {
    const until = performance.now() + 3000
    let done = 0
    await Promise.all(
      Array.from({ length: 16 }, async (_, lane) => {
        for (let i = lane; performance.now() < until; i += 16) {
          const user = users[i % users.length]
          if (user === undefined) continue
          await auth.createContext({ req: { headers: {} }, resHeaders: new Headers() }).auth.login(user)
          done += 1
        }
      }),
    )
    return done / 3
  }
  const { Client } = await import('pg').then(({ default: pg }) => pg)
  const client = new Client({ connectionString: url })
  await client.connect()
  // `instead` of the write: everything else stays as it is.
  const silence = [
    'create function nothing() returns trigger language plpgsql as $$ begin return null; end $$',
    'create trigger nothing before insert or update on changes for each row execute function nothing()',
  ]
  const speak = ['drop trigger nothing on changes', 'drop function nothing']
  const ratios: number[] = []
  await rate()
  for (let round = 0; round < 4; round += 1) {
    const withIt = await rate()
    for (const text of silence) await client.query(text)
    const withoutIt = await rate()
    for (const text of speak) await client.query(text)
    ratios.push(withIt / withoutIt)
    console.log(`sign-ins a second on PostgreSQL: ${withIt.toFixed(0)} announced, ${withoutIt.toFixed(0)} not`)
  }
  console.log(`with / without: ${ratios.map((ratio) => ratio.toFixed(2)).join(', ')} (goal: at least 0.8)`)
  await client.end()
  await auth.close()
  await server.remove()
}
