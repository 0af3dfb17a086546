import cluster, { type Worker } from 'node:cluster'
import { randomBytes } from 'node:crypto'
import { runWhileTold, stopOnceThenExit, writeAnnouncement } from '../http/run.ts'
import type { RunningServer } from '../http/server.ts'
import { createJsonLog } from '../log.ts'
import { say } from './output.ts'

const ROTATE_MS = 6 * 60 * 60_000
const FIRST_PAUSE_MS = 500
const MAX_PAUSE_MS = 30_000
// One that lived this long did not fail for how it was started.
const SETTLED_MS = 10_000

/** What the first process tells its workers; keys travel on the channel between them and are nowhere else. */
type Order = { readonly act: 'stop' | 'reload' } | { readonly act: 'keys'; readonly keys: string }

/** What a worker says: where it listens, why it does not start, or else that it waits for keys. */
interface Word {
  readonly url?: string
  readonly problem?: string
}

/**
 * Keeps a number of processes on one port and one database. Ends with all of them: after a signal, when one cannot start, or by
 * its own end.
 */
export async function runWorkers(count: number): Promise<void> {
  const log = createJsonLog()
  const accepting = new Set<Worker>()
  const all = new Set<Worker>()
  const problems = new Set<string>()
  const ended = Promise.withResolvers<number>()
  let keys = randomBytes(48).toString('base64')
  let announced = false
  let stopping = false
  let pauseMs = FIRST_PAUSE_MS

  function startOne(): void {
    const worker = cluster.fork()
    const startedAt = performance.now()
    all.add(worker)
    worker.on('message', (message: Word) => {
      if (message.problem !== undefined) {
        sayOnce(message.problem)
        return
      }
      if (message.url === undefined) {
        order(worker, { act: 'keys', keys })
        return
      }
      accepting.add(worker)
      problems.clear()
      if (announced || accepting.size < count) return
      announced = true
      writeAnnouncement(message.url)
    })
    worker.once('exit', (code: number | null, signal: string | null) => {
      all.delete(worker)
      accepting.delete(worker)
      if (!announced && !stopping) stop(code === 0 || code === null ? 1 : code)
      if (stopping) return void (all.size === 0 && ended.resolve(exitCode))
      const settled = performance.now() - startedAt > SETTLED_MS
      pauseMs = settled ? FIRST_PAUSE_MS : Math.min(pauseMs * 2, MAX_PAUSE_MS)
      log.warn({ code, signal, pauseMs }, 'worker_ended')
      setTimeout(() => stopping || startOne(), pauseMs)
    })
  }

  // What keeps one from starting keeps all.
  function sayOnce(problem: string): void {
    if (!problems.has(problem)) say(problem)
    problems.add(problem)
  }

  let exitCode = 0
  function stop(code: number): void {
    stopping = true
    exitCode = code
    orderAll({ act: 'stop' })
  }

  function orderAll(what: Order): void {
    for (const worker of all) order(worker, what)
  }

  setInterval(() => {
    keys = randomBytes(48).toString('base64')
    orderAll({ act: 'keys', keys })
  }, ROTATE_MS).unref()
  process.on('SIGHUP', () => orderAll({ act: 'reload' }))
  // Workers end with the channel to this process, so a second signal takes them along.
  const onStop = stopOnceThenExit(() => stopping || stop(0))
  process.on('SIGTERM', onStop).on('SIGINT', onStop)
  // Last, so that no signal finds processes and nobody who listens.
  for (let started = 0; started < count; started += 1) startOne()
  process.exit(await ended.promise)
}

function order(worker: Worker, what: Order): void {
  if (worker.isConnected()) worker.send(what)
}

/** One of those processes: starts with the keys that all share, says where it listens, and does what it is told. */
export async function work(start: (ticketKeys: Buffer) => Promise<RunningServer>): Promise<void> {
  const server = await start(await askForKeys()).catch((error: unknown) => {
    // The channel would keep a process that has nothing to serve.
    process.channel?.unref()
    throw error
  })
  process.removeAllListeners('message')
  process.send?.({ url: server.url })
  await runWhileTold(server, ({ stop, reload }) => {
    let isTold = false
    // Told by the first process and by whoever signals all at once, as service managers do; a second time means the same.
    const stopOnce = () => {
      if (!isTold) stop()
      isTold = true
    }
    process.on('message', (what: Order) => {
      if (what.act === 'keys') server.setTicketKeys(Buffer.from(what.keys, 'base64'))
      else if (what.act === 'stop') stopOnce()
      else reload()
    })
    process.on('SIGTERM', stopOnce)
    // A terminal interrupts the whole group; the first process hears it too, and tells.
    process.on('SIGINT', () => {})
    process.on('SIGHUP', () => {})
  })
}

/** Says why this process ends; one of several says it to the first, which says it once. */
export function sayProblem(problem: string): void {
  if (cluster.isWorker) process.send?.({ problem })
  else say(problem)
}

function askForKeys(): Promise<Buffer> {
  return new Promise((resolve) => {
    process.on('message', (what: Order) => {
      // Nothing is served yet, so there is nothing to finish.
      if (what.act === 'stop') process.exit(0)
      if (what.act === 'keys') resolve(Buffer.from(what.keys, 'base64'))
    })
    process.send?.({})
  })
}
