// Where the processor's time goes in a protected call: a CPU profile, summed by who wrote the code.
import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startNode } from './contestants.mjs'

const PARTS = [
  [
    'TLS, sockets and system calls',
    ({ functionName, url }) => /^(writev|writeUtf8String|writeBuffer|read|\(program\))$/.test(functionName) && !url.startsWith('file:'),
  ],
  [
    "Node's HTTP, streams and timers",
    ({ url }) => /^node:(_http|internal\/(streams|stream_base|timers|http)|events|net|_tls|timers|buffer)/.test(url),
  ],
  ['garbage collection', ({ functionName }) => functionName === '(garbage collector)'],
  ['SQLite: the look-up', ({ url }) => /storage\/sqlite/.test(url)],
  ['hashing the token', ({ url }) => /internal\/crypto|dist\/tokens/.test(url)],
  ['tRPC: middleware and errors', ({ url }) => /@trpc\/server/.test(url)],
  ['superjson', ({ url }) => /superjson/.test(url)],
  ['trpc-login', ({ url }) => /packages\/server\/dist/.test(url)],
  ['the rest of Node', () => true],
]

export async function measureProfile({ generator, tls, dir, seconds, say }) {
  const profiles = join(dir, 'profile')
  mkdirSync(profiles)
  const args = ['--cpu-prof', `--cpu-prof-dir=${profiles}`]
  const server = await startNode('profile', 'ours.mjs', tls, { env: { DIR: dir }, args })
  const job = { port: server.port, ca: tls.ca, request: server.requests['sqlite protected'], connections: 16, seconds }
  const { count } = await generator.run(job)
  await server.stop()
  say('profile: a protected call')
  const [file] = readdirSync(profiles)
  return partsOf(JSON.parse(readFileSync(join(profiles, file), 'utf8')), count)
}

/** Microseconds of each part in one call; what ran before the first call, such as loading modules, counts for little. */
function partsOf({ nodes, samples, timeDeltas }, count) {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]))
  const sums = new Map(PARTS.map(([name]) => [name, 0]))
  samples.forEach((id, index) => {
    const frame = frames.get(id)
    if (frame.functionName === '(idle)' || /modules\/|bootstrap|realm/.test(frame.url)) return
    const [name] = PARTS.find(([, isPart]) => isPart(frame))
    sums.set(name, sums.get(name) + timeDeltas[index] / count)
  })
  return [...sums].map(([name, microseconds]) => ({ name, microseconds })).toSorted((a, b) => b.microseconds - a.microseconds)
}
