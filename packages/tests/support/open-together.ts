// Opens one fresh database after another, each at the same moment as the other threads that share the counter.
import { setTimeout as sleep } from 'node:timers/promises'
import { workerData } from 'node:worker_threads'
import { sqliteStorage } from '@trpc-login/server'

const { paths, threads, counter } = workerData as { paths: string[]; threads: number; counter: SharedArrayBuffer }
const arrived = new Int32Array(counter)

for (const [round, path] of paths.entries()) {
  Atomics.add(arrived, 0, 1)
  while (Atomics.load(arrived, 0) < threads * (round + 1)) await sleep(0)
  const storage = sqliteStorage({ path })
  await storage.check()
  await storage.close()
}
