// Ten times the logins that the machine can hash, for 20 seconds, from a process of its own: does `auth.me` stay responsive?
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { Agent, fetch } from 'undici'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'

const SECONDS = Number(process.env['SECONDS'] ?? 20)
const RATE = Number(process.env['RATE'] ?? 700)

if (process.send === undefined) await serve()
else await attack()

async function serve(): Promise<void> {
  await using server = await startServer({
    limits: { failuresPerAddress: 1e9, callsPerAddress: 1e9, signUpsPerAddress: 1e9 },
    server: { maxConnectionsPerAddress: 4000 },
  })
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const memory: number[] = []
  const timer = setInterval(() => memory.push(process.memoryUsage().rss >> 20), 1000)
  const child = fork(fileURLToPath(import.meta.url), {
    execArgv: process.execArgv,
    env: { ...process.env, URL: server.url, CA: server.ca, COOKIE: cookie },
  })
  await new Promise((resolve) => child.once('exit', resolve))
  clearInterval(timer)
  console.log(`server memory, MiB each second: ${memory.join(' ')}`)
}

async function attack(): Promise<void> {
  const { URL: url = '', CA: ca = '', COOKIE: cookie = '' } = process.env
  const callers = new Agent({ connect: { ca } })
  const attackers = new Agent({ connect: { ca }, connections: 150 })
  const outcomes = new Map<string, number>()
  const atRest = await measure(3)
  const pending: Promise<void>[] = []
  let sent = 0
  const from = performance.now()
  const timer = setInterval(() => {
    for (const due = ((performance.now() - from) / 1000) * RATE; sent < due; sent += 1) pending.push(login(sent))
  }, 10)
  const flooded = await measure(SECONDS)
  clearInterval(timer)
  await Promise.all(pending)
  console.log(`offered ${sent} logins in ${SECONDS} s: ${JSON.stringify(Object.fromEntries(outcomes))}`)
  console.log(`auth.me at rest:  p50 ${atRest.p50} ms, p99 ${atRest.p99} ms`)
  console.log(`auth.me in flood: p50 ${flooded.p50} ms, p99 ${flooded.p99} ms (${flooded.count} calls)`)
  await Promise.all([callers.destroy(), attackers.destroy()])
  process.disconnect?.()

  async function login(index: number): Promise<void> {
    const body = JSON.stringify({ username: `name${index}`, password: 'not the password' })
    const init = { method: 'POST', body, headers: { 'content-type': 'application/json' }, dispatcher: attackers }
    const response = await fetch(`${url}/api/auth.login`, init)
    await response.arrayBuffer()
    const retry = response.status === 401 ? '' : response.headers.has('retry-after') ? ' with Retry-After' : ' without Retry-After'
    outcomes.set(`${response.status}${retry}`, (outcomes.get(`${response.status}${retry}`) ?? 0) + 1)
  }

  async function measure(seconds: number) {
    const times: number[] = []
    for (const end = performance.now() + seconds * 1000; performance.now() < end; ) {
      const start = performance.now()
      const response = await fetch(`${url}/api/auth.me`, { headers: { cookie }, dispatcher: callers })
      await response.arrayBuffer()
      times.push(performance.now() - start)
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    const sorted = times.toSorted((a, b) => a - b)
    const at = (share: number) => (sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(1)
    return { p50: at(0.5), p99: at(0.99), count: sorted.length }
  }
}
