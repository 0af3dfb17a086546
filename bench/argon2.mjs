// Nothing but argon2id, as many at once as there are cores: what logins are measured against.

import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'

const { hash, verify } = createRequire(new URL('../packages/server/package.json', import.meta.url))('@node-rs/argon2')
const PASSWORD = 'demo-passphrase-01'
const stored = await hash(PASSWORD, { memoryCost: 19_456, timeCost: 2, parallelism: 1, outputLen: 32 })

process.on('message', ({ seconds }) => {
  void hashFor(seconds).then((perSecond) => process.send({ perSecond }))
})
process.on('disconnect', () => process.exit(0))
process.send('ready')

async function hashFor(seconds) {
  let count = 0
  const from = performance.now()
  const work = async () => {
    for (; performance.now() - from < seconds * 1000; count += 1) await verify(stored, PASSWORD)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, work))
  return (count / (performance.now() - from)) * 1000
}
