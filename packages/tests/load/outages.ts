// A server of its own process while its PostgreSQL stops, freezes, resets or swallows: what callers wait and are told, and what is left.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { createProxy } from '../support/proxy.ts'
import { type Caller, caller, until } from '../support/remote.ts'
import { makeLoadDatabase, serve } from '../support/serve.ts'

const OUTAGE_MS = Number(process.env['OUTAGE_MS'] ?? 30_000)
const CALLERS = 8
const dir = mkdtempSync(join(tmpdir(), 'trpc-login-outages-'))
const database = await makeLoadDatabase('postgres', dir, CALLERS)
const postgres = database.server
if (postgres === null) throw new Error('no PostgreSQL')
const proxy = await createProxy(postgres.port)
const url = new URL(database.env['TRPC_LOGIN_DATABASE_URL'] ?? '')
url.port = String(proxy.port)
const server = await serve(dir, { TRPC_LOGIN_DATABASE_URL: url.href })
const clients: Caller[] = []
for (let i = 0; i < CALLERS; i += 1) {
  const client = caller(server.url, server.ca)
  await client.login(`user${i}`)
  clients.push(client)
}

await outage('restarted', async () => {
  await postgres.stop()
  await postgres.start()
})
await outage(`frozen for ${OUTAGE_MS / 1000} s`, async () => {
  postgres.signal('SIGSTOP')
  await sleep(OUTAGE_MS)
  postgres.signal('SIGCONT')
})
await outage('reset 50 times', async () => {
  for (let i = 0; i < 50; i += 1) {
    proxy.reset()
    await sleep(50)
  }
})
await outage(`swallowing for ${OUTAGE_MS / 1000} s`, async () => {
  proxy.swallow()
  await sleep(OUTAGE_MS)
  proxy.restore()
})
await outage('killed', async () => {
  await postgres.kill()
  await sleep(1000)
  await postgres.start()
})
await server.stop()
await proxy.close()
await database.remove()
rmSync(dir, { recursive: true })
process.exit()

async function outage(name: string, happen: () => Promise<void>): Promise<void> {
  const statuses = new Map<number, number>()
  let longest = 0
  const stop = new AbortController()
  let setCookies = 0
  const load = clients.map(async (client, index) => {
    for (let n = index; !stop.signal.aborted; n += 1) {
      const from = performance.now()
      const answer = n % 3 === 0 ? await client.call('auth.account.update', { name: `n${n}` }) : await client.call('auth.sessions.list')
      longest = Math.max(longest, performance.now() - from)
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1)
      if (answer.setsCookie) setCookies += 1
      await sleep(20)
    }
  })
  await sleep(300)
  await happen()
  const recovered = await until(async () => (await caller(server.url, server.ca).ready()) === 200)
  stop.abort()
  await Promise.all(load)
  let signedIn = 0
  for (const client of clients) if ((await client.me()) !== null) signedIn += 1
  const told = [...statuses].map(([status, number]) => `${number} x ${status}`).join(', ')
  console.log(
    `${name}: ${told}; longest wait ${longest.toFixed(0)} ms; recovered after ${recovered.toFixed(0)} ms; ${signedIn} of ${CALLERS} signed in; ${setCookies} cookies touched`,
  )
  if (signedIn !== CALLERS || longest > 2600 || recovered > 5000 || [...statuses.keys()].some((status) => status !== 200 && status !== 503))
    process.exitCode = 1
}
