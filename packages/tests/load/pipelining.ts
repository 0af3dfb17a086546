// What 200 connections of one address cost that pipeline and never read: memory of the server, and how long others wait.
// node scripts/run.mjs packages/tests/load/pipelining.ts
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'node:tls'
import { Agent, fetch } from 'undici'
import { makeLoadDatabase, percentile, serve } from '../support/serve.ts'

const CONNECTIONS = 200
const MS = 10_000
const dir = mkdtempSync(join(tmpdir(), 'trpc-login-pipelining-'))
const { env, remove } = await makeLoadDatabase('sqlite', dir, 1)
const server = await serve(dir, { ...env, TRPC_LOGIN_TRUSTED_PROXIES: '' })
const dispatcher = new Agent({ connect: { ca: server.ca, localAddress: '127.0.0.2' } })
const residentMiB = () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.child.pid}/status`, 'utf8'))?.[1]) / 1024

async function waits(ms: number): Promise<number[]> {
  const took: number[] = []
  for (const until = performance.now() + ms; performance.now() < until; await sleep(10)) {
    const from = performance.now()
    await (await fetch(`${server.url}/healthz`, { dispatcher })).text()
    took.push(performance.now() - from)
  }
  return took
}

await waits(1000)
const atRest = { p99: percentile(await waits(2000), 0.99), mib: residentMiB() }
const burst = `GET /api/${'a,'.repeat(9)}a?batch=1 HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(900)
let opened = 0
let sent = 0
const over = new AbortController()
const attackers = Array.from({ length: CONNECTIONS }, async () => {
  while (!over.signal.aborted) {
    await new Promise<void>((resolve) => {
      const socket = connect({ host: '127.0.0.1', port: server.port, ca: server.ca }, () => {
        opened += 1
        sent += burst.length
        // Never read; opened anew when it is ended.
        socket.pause().write(burst)
      })
      socket.on('error', () => {}).on('close', () => resolve())
      setTimeout(() => socket.destroy(), MS).unref()
    })
    await sleep(200)
  }
})
let peak = 0
const watching = setInterval(() => {
  peak = Math.max(peak, residentMiB())
}, 100)
const meanwhile = percentile(await waits(MS), 0.99)
over.abort()
clearInterval(watching)
console.log(`${opened} connections, ${(sent / 2 ** 20).toFixed(0)} MiB written, ${CONNECTIONS} at once`)
console.log(
  `resident: ${atRest.mib.toFixed(0)} MiB at rest, at most ${peak.toFixed(0)} MiB: ${((peak - atRest.mib) / CONNECTIONS).toFixed(2)} MiB a connection`,
)
console.log(`p99 of /healthz from elsewhere: ${atRest.p99.toFixed(1)} ms at rest, ${meanwhile.toFixed(1)} ms meanwhile`)
await Promise.race([Promise.all(attackers), sleep(2000)])
await server.stop()
await remove()
rmSync(dir, { recursive: true, force: true })
process.exit()
