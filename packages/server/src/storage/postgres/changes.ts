import { randomBytes } from 'node:crypto'
import { type Kysely, sql } from 'kysely'
import type pg from 'pg'
import type { Schema } from '../schema.ts'
import type { Connections } from './connections.ts'
import { clientConfig, type Target } from './driver.ts'
import { CHANGE_BUCKETS } from './migrate.ts'

const CHANNEL = 'trpc_login'
const ANSWER_MS = 1000
// A connection that was cut without a word looks like one on which nothing happens.
const SILENCE_MS = 500

/** How processes learn of each other's changes of users and sessions. */
export interface Changes {
  /** Told in the transaction of a change, so that others hear of it when it holds and not otherwise. */
  announce(db: Kysely<Schema>): Promise<void>
  /** A change of this process holds. */
  noteOwn(): void
  /** See the port. */
  current(): Promise<number>
  close(): Promise<void>
}

/** Others are told by the database; nothing is asked of it while nothing changes, but whether the line still stands. */
export function createListening(driver: typeof pg, target: Target): Changes {
  const self = randomBytes(8).toString('hex')
  let listener: { readonly client: pg.Client; readonly ready: Promise<void> } | null = null
  let count = 0
  let heardAt = 0
  let closed = false

  function listen(): NonNullable<typeof listener> {
    const client = new driver.Client({ ...clientConfig(driver, target, true), connectionTimeoutMillis: ANSWER_MS })
    const forget = () => {
      if (listener?.client === client) listener = null
    }
    client.on('error', forget)
    client.on('end', forget)
    client.on('notification', ({ payload }) => {
      heardAt = performance.now()
      if (payload !== self) count += 1
    })
    return { client, ready: begin(client) }
  }

  async function begin(client: pg.Client): Promise<void> {
    await client.connect()
    await inTime(client, client.query(`listen ${CHANNEL}`))
    // Whatever happened before is unknown.
    count += 1
    heardAt = performance.now()
  }

  async function hear(): Promise<void> {
    const { client, ready } = (listener ??= listen())
    await ready.catch((error: unknown) => {
      if (listener?.client === client) listener = null
      throw error
    })
    if (performance.now() - heardAt < SILENCE_MS) return
    await inTime(client, client.query('select 1'))
    heardAt = performance.now()
  }

  return {
    announce: async (db) => void (await sql`select pg_notify(${CHANNEL}, ${self})`.execute(db)),
    noteOwn: () => {
      count += 1
    },
    async current() {
      if (closed) throw new Error('the storage is closed')
      await hear()
      return count
    },
    async close() {
      closed = true
      if (listener !== null) await endInTime(listener.client)
    },
  }
}

/** Where nobody is told: every change counts itself in one of a few rows, so that few wait for each other, and all are summed. */
export function createPolling(connections: Connections, answerMs: number): Changes {
  return {
    announce: async (db) => {
      const bucket = Math.floor(Math.random() * CHANGE_BUCKETS)
      await sql`update trpc_login_changes set count = count + 1 where bucket = ${bucket}`.execute(db)
    },
    noteOwn: () => {},
    current: () =>
      connections.use(performance.now() + answerMs, async ({ db }) => {
        const { rows } = await sql<{ n: number }>`select cast(sum(count) as bigint) as n from trpc_login_changes`.execute(db)
        return rows[0]?.n ?? 0
      }),
    close: async () => {},
  }
}

async function endInTime(client: pg.Client): Promise<void> {
  const timer = setTimeout(() => client.connection.stream.destroy(), ANSWER_MS)
  await client.end().finally(() => clearTimeout(timer))
}

/** Gives a client up that does not answer, and its connection with it. */
async function inTime<T>(client: pg.Client, answer: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('the database did not answer in time')), ANSWER_MS)
  })
  try {
    return await Promise.race([answer, late])
  } catch (error) {
    answer.catch(() => {})
    client.connection.stream.destroy()
    throw error
  } finally {
    clearTimeout(timer)
  }
}
