// How long after a revocation on one server another refuses the session, and ends its streams.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, fetch } from 'undici'
import { caller } from '../support/remote.ts'
import { makeLoadDatabase, percentile, serve } from '../support/serve.ts'

const ROUNDS = Number(process.env['ROUNDS'] ?? 100)
const dir = mkdtempSync(join(tmpdir(), 'trpc-login-revocation-'))
const database = await makeLoadDatabase('postgres', dir, 1)
const { env } = database
const [here, there] = [await serve(dir, env), await serve(dir, env)]
const dispatcher = new Agent({ connect: { ca: there.ca } })
const acting = caller(here.url, here.ca)
await acting.login('user0')
const refusals: number[] = []
const ends: number[] = []
let wrong = 0
for (let round = 0; round < ROUNDS; round += 1) {
  const victim = caller(there.url, there.ca)
  await victim.login('user0', undefined)
  const { body } = await fetch(`${there.url}/api/auth.events`, {
    headers: { cookie: victim.cookie(), accept: 'text/event-stream' },
    dispatcher,
  })
  const reader = body?.getReader()
  // The first bytes say that the stream is there.
  await reader?.read()
  const ended = (async () => {
    for (;;) if ((await reader?.read().catch(() => ({ done: true })))?.done !== false) return performance.now()
  })()
  // Servers look four times a second; when in between is chance.
  await sleep(Math.random() * 250)
  await acting.call('auth.sessions.revokeOthers', null)
  const revokedAt = performance.now()
  const { status } = await victim.call('auth.sessions.list')
  refusals.push(performance.now() - revokedAt)
  if (status !== 401) wrong += 1
  ends.push((await ended) - revokedAt)
  await victim.close()
}
console.log(`${ROUNDS} revocations: ${wrong} not refused on the next call (${line(refusals)}); streams end: ${line(ends)}`)
await Promise.all([here.stop(), there.stop()])
await database.remove()
if (wrong > 0 || Math.max(...ends) > 1000) process.exitCode = 1
rmSync(dir, { recursive: true })
process.exit()

function line(values: readonly number[]): string {
  return `median ${percentile(values, 0.5).toFixed(0)} ms, maximum ${Math.max(...values).toFixed(0)} ms`
}
