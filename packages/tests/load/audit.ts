// A million entries in the audit log: how long does the thread stand still while the old half is purged, and while one user's 20,000
// are exported in pages? The caller is a process of its own. `node scripts/run.mjs packages/tests/load/audit.ts`
import { fork } from 'node:child_process'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Agent, fetch } from 'undici'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'

const ROWS = Number(process.env['ROWS'] ?? 1_000_000)
const OWN = 20_000
const PURGE_MS = Number(process.env['SECONDS'] ?? 30) * 1000
const YEAR_MS = 365 * 24 * 60 * 60_000

const ms = (ns: number) => ((ns - 1e6) / 1e6).toFixed(1)

if (process.send === undefined) await serve()
else await call()

async function serve(): Promise<void> {
  await using server = await startServer()
  const db = new DatabaseSync(server.file, { timeout: 5000 })
  const { id } = (await server.auth.users.findByUsername('ada')) ?? { id: '' }
  const from = server.clock.now() - YEAR_MS - ROWS
  // Every second is past its time; one in fifty is the user's.
  db.exec(`
    with recursive numbers (i) as (select 0 union all select i + 1 from numbers where i < ${ROWS - 1}),
      entries (at, i) as (select ${from} + i * 2, i from numbers)
    insert into audit select
      printf('%s-%s-7000-8%03x-%012x', substr(printf('%012x', at), 1, 8), substr(printf('%012x', at), 9), i & 4095, i * 2654435761 % 281474976710656),
      at, 'authn_login_success', case when i % ${ROWS / OWN} = 0 then '${id}' else printf('u%x', i * 40503 % 65536) end,
      printf('u%x', i * 2654435761 % 65536), '198.51.100.7', '{"sessionId":"01890000-0000-7000-8000-000000000000"}' from entries`)
  // What the seeding left in the log is no part of the purge.
  db.exec('pragma wal_checkpoint(truncate)')
  db.close()
  const child = fork(fileURLToPath(import.meta.url), {
    execArgv: process.execArgv,
    env: { ...process.env, URL: server.url, CA: server.ca },
  })
  const done = new Promise((resolve) => child.once('exit', resolve))
  const told = (message: string) => new Promise<void>((resolve) => child.on('message', (said) => said === message && resolve()))
  await told('signed in')
  await measure('at rest', sleep(3000))
  child.send('export')
  await measure(`export of ${OWN}`, told('exported'))
  const before = await count()
  server.clock.advance(11 * 60_000)
  // What writes an entry also begins a purge that is due.
  server.auth.audit.entry('load', { actorId: null, address: null }, null)
  await measure('purge', sleep(PURGE_MS))
  console.log(`${before - (await count())} entries purged in ${PURGE_MS / 1000} s`)
  child.send('end')
  await done

  async function count(): Promise<number> {
    const reader = new DatabaseSync(join(server.dir, 'login.db'), { readOnly: true })
    const { n } = reader.prepare('select count(*) as n from audit').get() as { n: number }
    reader.close()
    await sleep(200)
    return n
  }
}

async function measure(name: string, act: Promise<unknown>): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  await act
  delay.disable()
  console.log(`${name}: stands still p50 ${ms(delay.percentile(50))}, p99 ${ms(delay.percentile(99))}, at most ${ms(delay.max)} ms`)
}

async function call(): Promise<void> {
  const { URL: url = '', CA: ca = '' } = process.env
  const dispatcher = new Agent({ connect: { ca } })
  const headers = { 'content-type': 'application/json' }
  const body = JSON.stringify({ username: 'ada', password: PASSWORD })
  const cookie = cookieOf((await fetch(`${url}/api/auth.login`, { method: 'POST', headers, body, dispatcher })).headers)
  process.send?.('signed in')
  process.on('message', (message) => {
    if (message === 'end') process.disconnect?.()
    else void run()
  })
  async function run(): Promise<void> {
    const from = performance.now()
    let [pages, cursor]: [number, string | null] = [0, '']
    for (; cursor !== null; pages += 1) {
      const input = cursor === '' ? '' : `?input=${encodeURIComponent(JSON.stringify({ cursor }))}`
      const response = await fetch(`${url}/api/auth.account.export${input}`, {
        headers: { cookie, accept: 'application/json' },
        dispatcher,
      })
      cursor = ((await response.json()) as { result: { data: { auditCursor: string | null } } }).result.data.auditCursor
    }
    console.log(`${pages} pages in ${(performance.now() - from).toFixed(0)} ms`)
    process.send?.('exported')
  }
}
