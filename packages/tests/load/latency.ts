// Times GETs of a URL over keep-alive connections for some seconds: `latency.ts URL CA_FILE SECONDS`; prints p50 and p99.
import { readFileSync } from 'node:fs'
import { Agent, fetch } from 'undici'

const [url = '', caFile = '', seconds = '10'] = process.argv.slice(2)
// Another address than the attacker's: what one address may hold is limited.
const dispatcher = new Agent({ connect: { ca: readFileSync(caFile, 'utf8') }, localAddress: '127.0.0.2' })
const times: number[] = []
for (const end = performance.now() + Number(seconds) * 1000; performance.now() < end; ) {
  const from = performance.now()
  const response = await fetch(url, { dispatcher })
  await response.arrayBuffer()
  times.push(performance.now() - from)
  await new Promise((resolve) => setTimeout(resolve, 5))
}
const sorted = times.toSorted((a, b) => a - b)
const at = (share: number) => (sorted[Math.floor(sorted.length * share)] ?? 0).toFixed(2)
console.log(`${sorted.length} calls: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms`)
await dispatcher.destroy()
