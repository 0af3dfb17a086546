// 1,000 inputs that unfold, from a process of its own, to the quickstart's open procedure: what comes of them, and does /healthz stay
// responsive? `RATE=100 node scripts/run.mjs packages/tests/load/unfolding.ts`
import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { Agent, fetch } from 'undici'
import { percentile } from '../support/serve.ts'
import { startServer } from '../support/server.ts'
import { chain, unfolding, verdictOf } from '../support/unfolding.ts'

const RATE = Number(process.env['RATE'] ?? 100)
const INPUTS = 1000

if (process.send === undefined) await serve()
else await attack()

async function serve(): Promise<void> {
  await using server = await startServer()
  const child = fork(fileURLToPath(import.meta.url), {
    execArgv: process.execArgv,
    env: { ...process.env, URL: server.url, CA: server.ca },
  })
  await new Promise((resolve) => child.once('exit', resolve))
}

async function attack(): Promise<void> {
  const { URL: url = '', CA: ca = '' } = process.env
  const [callers, attackers] = [new Agent({ connect: { ca } }), new Agent({ connect: { ca }, connections: 20 })]
  const outcomes = new Map<string, number>()
  // The fault as it was found, and 1,000 of all forms.
  const doubling = chain({ leaf: 'object', size: 1, links: Array.from({ length: 27 }, () => 'object'), slots: 2, circle: false })
  const inputs = [doubling, ...fc.sample(unfolding, INPUTS)]
  console.log(`at rest:   ${await measure(2000)}`)
  const pending: Promise<void>[] = []
  const from = performance.now()
  const timer = setInterval(() => {
    for (const due = Math.min(inputs.length, ((performance.now() - from) / 1000) * RATE); pending.length < due; )
      pending.push(send(inputs[pending.length] as (typeof inputs)[number]))
  }, 5)
  const during = await measure((inputs.length / RATE) * 1000)
  clearInterval(timer)
  await Promise.all(pending)
  console.log(`meanwhile: ${during}`)
  console.log(
    `${pending.length} inputs at ${RATE} a second: ${JSON.stringify(Object.fromEntries([...outcomes].toSorted(([a], [b]) => a.localeCompare(b))))}`,
  )
  await Promise.all([callers.destroy(), attackers.destroy()])
  process.disconnect?.()

  async function send(made: (typeof inputs)[number]): Promise<void> {
    const init = {
      method: 'POST',
      body: JSON.stringify(made.envelope),
      headers: { 'content-type': 'application/json' },
      dispatcher: attackers,
    }
    const response = await fetch(`${url}/api/notauthFunc`, init)
    await response.arrayBuffer()
    const wanted = verdictOf(made) === 400 ? 'beyond the budget' : 'within it, or near'
    outcomes.set(`${wanted}: ${response.status}`, (outcomes.get(`${wanted}: ${response.status}`) ?? 0) + 1)
  }

  async function measure(ms: number): Promise<string> {
    const times: number[] = []
    for (const end = performance.now() + ms; performance.now() < end; ) {
      const start = performance.now()
      await (await fetch(`${url}/healthz`, { dispatcher: callers })).arrayBuffer()
      times.push(performance.now() - start)
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    return `/healthz p50 ${percentile(times, 0.5).toFixed(1)} ms, p99 ${percentile(times, 0.99).toFixed(1)} ms, most ${Math.max(...times).toFixed(1)} ms`
  }
}
