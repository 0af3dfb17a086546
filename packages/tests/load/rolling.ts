// Three servers on one PostgreSQL under load, replaced one by one: who was signed in stays so, and how many calls failed. With BLIND=1
// callers are not told which server is being replaced, as without a balancer that asks `/readyz`.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Caller, caller, until } from '../support/remote.ts'
import { makeLoadDatabase, percentile, type Served, serve } from '../support/serve.ts'

const ROUNDS = Number(process.env['ROUNDS'] ?? 2)
const BLIND = process.env['BLIND'] === '1'
const CALLERS = 12
const PAUSE_MS = 5
const dir = mkdtempSync(join(tmpdir(), 'trpc-login-rolling-'))
const database = await makeLoadDatabase('postgres', dir, CALLERS)
const servers: Served[] = []
for (let i = 0; i < 3; i += 1) servers.push(await serve(dir, database.env))
const inUse = new Set(servers)
const answers = new Map<string, number>()
const times: number[] = []
let wanted = 0
const stop = new AbortController()

const clients = await Promise.all(Array.from({ length: CALLERS }, (_, index) => signIn(index)))
const load = clients.map((client, index) => call(client, index))
await sleep(2000)
for (let round = 0; round < ROUNDS; round += 1) {
  for (const [index, old] of [...servers].entries()) {
    // As whoever replaces servers does it: the balancer's probe fails first, then the process drains.
    if (!BLIND) inUse.delete(old)
    const code = await old.stop()
    if (code !== 0) count(`exit ${code}`)
    const next = await serve(dir, { ...database.env, TRPC_LOGIN_PORT: String(old.port) })
    await until(async () => (await caller(next.url, next.ca).ready()) === 200)
    servers[index] = next
    inUse.delete(old)
    inUse.add(next)
    await sleep(1000)
  }
}
stop.abort()
await Promise.all(load)

let lost = 0
for (const { cookie } of clients) {
  const [server] = servers
  if (server === undefined || (await caller(server.url, server.ca, cookie()).me()) === null) lost += 1
}
const failed = [...answers].filter(([what]) => what !== '200').reduce((sum, [, number]) => sum + number, 0)
console.log(`${ROUNDS * 3} restarts under ${times.length} calls: ${JSON.stringify(Object.fromEntries(answers))}`)
console.log(
  `401: ${answers.get('401') ?? 0}, lost sessions: ${lost}, errors: ${failed} of ${wanted} (${((100 * failed) / wanted).toFixed(3)} %)`,
)
console.log(`a call takes ${percentile(times, 0.5).toFixed(1)} ms (median), ${percentile(times, 0.99).toFixed(1)} ms (p99)`)
await Promise.all(servers.map((server) => server.stop()))
await database.remove()
rmSync(dir, { recursive: true })
process.exit((answers.get('401') ?? 0) + lost === 0 ? 0 : 1)

async function signIn(index: number): Promise<Caller> {
  const server = servers[index % 3]
  if (server === undefined) throw new Error('no server')
  const client = caller(server.url, server.ca)
  await client.login(`user${index}`)
  return client
}

/** Reads, and one in ten writes, at whichever server the balancer would choose. */
async function call(client: Caller, index: number): Promise<void> {
  const connections = new Map<Served, Caller>()
  for (let n = index; !stop.signal.aborted; n += 1) {
    const choice = [...inUse][n % inUse.size]
    if (choice === undefined) continue
    if (!connections.has(choice)) connections.set(choice, caller(choice.url, choice.ca, client.cookie()))
    const from = performance.now()
    wanted += 1
    try {
      const answer =
        n % 10 === 0
          ? await connections.get(choice)?.call('auth.account.update', { name: `name ${n}` })
          : await connections.get(choice)?.call('auth.sessions.list')
      count(String(answer?.status))
      times.push(performance.now() - from)
    } catch (error) {
      count(String((error as { cause?: { code?: string } }).cause?.code ?? error))
    }
    await sleep(PAUSE_MS)
  }
}

function count(what: string): void {
  answers.set(what, (answers.get(what) ?? 0) + 1)
}
