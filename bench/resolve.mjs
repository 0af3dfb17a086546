// What it costs to find out who is signed in, in process, among so many sessions: argv is PATH COUNT LOOKUPS.
import { createAuth, silentLog, sqliteStorage } from '../packages/server/dist/index.js'
import { tokenOf } from './seed.mjs'

const [path, count, lookups] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4])]
const auth = createAuth({ storage: sqliteStorage({ path }), log: silentLog })
const cookies = Array.from({ length: lookups }, (_, n) => `__Host-session=${tokenOf(Math.floor((n * 0.618_033_988_75 * count) % count))}`)

async function resolveAll() {
  const from = process.hrtime.bigint()
  for (const cookie of cookies) {
    const { auth: request } = auth.createContext({ req: { method: 'GET', headers: { cookie }, socket: { remoteAddress: '127.0.0.1' } } })
    await request.requireLive()
  }
  return Number(process.hrtime.bigint() - from) / 1000 / lookups
}

const cold = await resolveAll()
const warm = []
for (let round = 0; round < 5; round += 1) warm.push(await resolveAll())
process.stdout.write(JSON.stringify({ cold, warm: warm.toSorted((a, b) => a - b)[2] }))
await auth.close()
