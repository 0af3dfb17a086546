// Do failing logins take the same time, whatever the cause? Prints the medians of 500 each, interleaved: run it on a quiet machine.
import { PASSWORD, startServer } from '../support/server.ts'

const ROUNDS = Number(process.env['ROUNDS'] ?? 500)

await using server = await startServer({ limits: { failuresPerAddress: 1e9, callsPerAddress: 1e9, signUpsPerAddress: 1e9 } })
await server.auth.users.disable((await server.addUser({ username: 'disabled' })).id)
await server.auth.users.create({ username: 'passwordless' })
const causes = {
  'wrong password': { username: 'ada', password: 'not the password' },
  'unknown user': { username: 'nobody', password: 'not the password' },
  'disabled user': { username: 'disabled', password: PASSWORD },
  'user without a password': { username: 'passwordless', password: 'not the password' },
}
const times = new Map(Object.keys(causes).map((name) => [name, [] as number[]]))
for (let round = 0; round < ROUNDS; round += 1) {
  // Past every delay, and short of the hundred failures that disable a password.
  server.clock.advance(16 * 60_000)
  if (round % 90 === 0) await server.auth.storage.attempts.purge(Number.MAX_VALUE, 1000)
  const order = Object.entries(causes)
  for (let turn = 0; turn < order.length; turn += 1) {
    const [name, input] = order[(round + turn) % order.length] as (typeof order)[number]
    const from = performance.now()
    const { status } = await server.post('auth.login', input)
    times.get(name)?.push(performance.now() - from)
    if (status !== 401) throw new Error(`${name}: ${status}`)
  }
}
const medians = [...times].map(([name, all]) => [name, all.toSorted((a, b) => a - b)[all.length >> 1] ?? 0] as const)
const all = medians.map(([, ms]) => ms)
for (const [name, ms] of medians) console.log(`${name.padEnd(26)}${ms.toFixed(3)} ms`)
console.log(`spread ${((Math.max(...all) / Math.min(...all) - 1) * 100).toFixed(2)} %`)
