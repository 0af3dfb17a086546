// The measurements, each giving plain numbers; run.mjs decides their order, report.mjs writes them down.
import { execFileSync, fork, spawn } from 'node:child_process'
import { statSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { sqliteStorage } from '../packages/server/dist/index.js'
import { loginRequest, pinned, requestOf, startNode } from './contestants.mjs'
import { seed } from './seed.mjs'

const here = import.meta.dirname
const CONNECTIONS = 16

/** The generator on the last core, and a function that has it do a job. */
export function startGenerator() {
  const core = String(availableParallelism() - 1)
  const [program, ...args] = [...pinned(core), process.execPath, join(here, 'load.mjs')]
  const child = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  return { run: (job) => ask(child, job), stop: () => child.disconnect() }
}

async function ask(child, job) {
  const answer = await new Promise((resolve) => {
    child.once('message', resolve)
    child.send(job)
  })
  if (answer.error !== undefined) throw new Error(answer.error)
  return answer
}

/** Every request of every server once a round, so that what disturbs the machine disturbs all alike; the first rounds warm up. */
export async function measureCalls({ generator, servers, tls, rounds, warmUps, seconds, say }) {
  const samples = new Map()
  for (let round = -warmUps; round < rounds; round += 1) {
    for (const server of servers) {
      for (const [title, request] of Object.entries(server.requests)) {
        const before = server.cpu()
        const seen = await generator.run({ port: server.port, ca: tls.ca, request, connections: CONNECTIONS, seconds })
        if (seen.failures.length > 0) throw new Error(`${title}: ${seen.failures[0]}`)
        const sample = { ...seen, cpu: ((server.cpu() - before) / seen.count) * 1e6, memory: server.memory() }
        if (round >= 0) samples.set(title, [...(samples.get(title) ?? []), sample])
      }
    }
    say(round < 0 ? `calls: warm-up ${round + warmUps + 1} of ${warmUps}` : `calls: round ${round + 1} of ${rounds}`)
  }
  return [...samples].map(([title, seen]) => ({ title, processes: processesOf(servers, title), ...summary(seen) }))
}

const processesOf = (servers, title) => servers.find(({ requests }) => title in requests).processes

function summary(samples) {
  const of = (key) => samples.map((sample) => sample[key]).toSorted((a, b) => a - b)
  const middle = (key) => median(of(key))
  const rates = of('perSecond')
  const spread = (rates[Math.floor(rates.length * 0.75)] - rates[Math.floor(rates.length * 0.25)]) / median(rates)
  return { perSecond: median(rates), spread, cpu: middle('cpu'), p50: middle('p50'), p99: middle('p99'), memory: middle('memory') }
}

export function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1]
}

/** Logins through the whole server, and argon2id by itself, in turns on all cores; then `auth.me` while logins flood in. */
export async function measureLogins({ generator, tls, dir, rounds, seconds, say }) {
  const server = await startNode('logins', 'ours.mjs', tls, { env: { DIR: dir }, core: null })
  const bare = fork(join(here, 'argon2.mjs'))
  await new Promise((resolve) => bare.once('message', resolve))
  const flooding = startGenerator()
  const login = { port: server.port, ca: tls.ca, request: loginRequest(), connections: CONNECTIONS, seconds }
  const me = { port: server.port, ca: tls.ca, request: server.requests['sqlite me'], connections: 1, seconds, pauseMs: 10 }
  const seen = { logins: [], hashes: [] }
  for (let round = 0; round < rounds; round += 1) {
    const made = await generator.run(login)
    if (made.failures.length > 0) throw new Error(made.failures[0])
    seen.logins.push(made.perSecond)
    seen.hashes.push((await ask(bare, { seconds })).perSecond)
    say(`logins: round ${round + 1} of ${rounds}`)
  }
  const atRest = await generator.run(me)
  const [inFlood] = await Promise.all([generator.run(me), flooding.run({ ...login, connections: 64, seconds: seconds + 1 })])
  bare.disconnect()
  flooding.stop()
  await server.stop()
  return { logins: median(seen.logins), hashes: median(seen.hashes), atRest, inFlood }
}

/** What one look-up costs among more and more sessions, and what the sessions weigh. */
export async function measureResolving({ dir, sizes, lookups, say }) {
  const path = join(dir, 'sessions.db')
  const storage = sqliteStorage({ path })
  await storage.check()
  await storage.close()
  const found = []
  let present = 0
  for (const size of sizes) {
    seed(path, present, size)
    present = size
    const [program, ...args] = [...pinned('0'), process.execPath, join(here, 'resolve.mjs'), path, String(size), String(lookups)]
    const runs = Array.from({ length: 3 }, () => JSON.parse(execFileSync(program, args, { encoding: 'utf8' })))
    const warm = median(runs.map((run) => run.warm))
    found.push({ size, warm, cold: runs[0].cold, mebibytes: statSync(path).size / 2 ** 20 })
    say(`resolving: ${size.toLocaleString('en')} sessions`)
  }
  return found
}

/** How soon a server listens, and what it holds before and after 100,000 sessions have called. */
export async function measureProcess({ generator, tls, dir, sessions, say }) {
  const times = []
  for (let run = 0; run < 5; run += 1) {
    const from = performance.now()
    const server = await startNode('start', 'ours.mjs', tls, { env: { DIR: dir } })
    times.push(performance.now() - from)
    await server.stop()
  }
  seed(join(dir, 'login.db'), 0, sessions)
  const server = await startNode('memory', 'ours.mjs', tls, { env: { DIR: dir } })
  const atRest = server.memory()
  const request = requestOf('/api/mine', '__Host-session=TOKEN')
  const seen = await generator.run({ port: server.port, ca: tls.ca, request, connections: CONNECTIONS, sessions })
  if (seen.failures.length > 0) throw new Error(seen.failures[0])
  const after = server.memory()
  await server.stop()
  say('process: start-up and memory')
  return { startMs: median(times), atRest, after, sessions: seen.count }
}

export async function measureConnections({ generator, tls, dir, seconds, say }) {
  const server = await startNode('connections', 'ours.mjs', tls, { env: { DIR: dir } })
  const job = { kind: 'connections', port: server.port, ca: tls.ca, request: server.requests['sqlite public'], callers: 8, seconds }
  const fresh = { full: [], resumed: [] }
  let share = 0
  for (let round = 0; round < 3; round += 1) {
    fresh.full.push((await generator.run({ ...job, resume: false })).perSecond)
    const resumed = await generator.run({ ...job, resume: true })
    fresh.resumed.push(resumed.perSecond)
    share = resumed.resumed
  }
  await server.stop()
  say('connections: new and resumed')
  return { full: median(fresh.full), resumed: median(fresh.resumed), share }
}
