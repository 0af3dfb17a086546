import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Kysely, PostgresDialect } from 'kysely'
import type pg from 'pg'
import type { Schema } from '../schema.ts'
import { cancelOnServer } from './cancel.ts'
import { clientConfig, type Target } from './driver.ts'

/** What one act of the store may take, from the wait for a connection to the last answer. */
export const ANSWER_MS = 2000

// Whoever does not answer to that either is taken for gone.
const CANCEL_MS = 2000
// Shut down, crashed, starting; or a server that writes no more since another took over, which is found by connecting anew.
const GONE = /^(?:57P0[1-5]|25006)$/

/** Whoever waits has waited long enough. */
export class LateError extends Error {
  override readonly name = 'LateError'
  constructor() {
    super('the database did not answer in time')
  }
}

/** Nothing was asked of the database; the cause says why. */
export class NoConnectionError extends Error {
  override readonly name = 'NoConnectionError'
  constructor(cause: Error) {
    super(cause.message, { cause })
  }
}

/** One connection of the pool, lent for one act. */
export interface Connection {
  readonly db: Kysely<Schema>
  /** A statement that the server parses and plans once a connection. */
  prepared<T>(name: string, text: string, values: readonly unknown[]): Promise<T[]>
  /** Why it is of no more use. */
  lost(): Error | null
  /** Whether the end of a transaction was asked for: what became of it is unknown when the connection is lost then. */
  isCommitting(): boolean
}

export interface Connections {
  /**
   * Lends a connection until `run` is done or the deadline, of `performance.now`, has passed. No single wait, for a connection or for an
   * answer, is longer than `ANSWER_MS`, however far away the deadline. Those that write leave some of the pool
   * to others, so that a database which takes no writes for a while is still read.
   * @throws NoConnectionError when none could be made, so that nothing was done
   */
  use<T>(deadline: number, run: (connection: Connection) => Promise<T>, options?: { writes?: boolean }): Promise<T>
  close(): Promise<void>
}

/** A pool whose every wait has an end: a server that hangs, or a network that swallows, is given up like one that is gone. */
export function createConnections(driver: typeof pg, target: Target, size: number): Connections {
  const pool = new driver.Pool({ ...clientConfig(driver, target, true), max: size, idleTimeoutMillis: 30_000 })
  // Of a connection that waits for work; the pool has dropped it already.
  pool.on('error', () => {})
  const lendable = new WeakMap<pg.PoolClient, ReturnType<typeof lend>>()
  // Before it is handed out: one that is ended in that moment has an error that nobody else listens for, which would end the process.
  pool.on('connect', (client) => lendable.set(client, lend(client)))
  const writers = createPlaces(Math.max(1, size - Math.ceil(size / 4)))

  return {
    async use(deadline, run, { writes = false } = {}) {
      const leave = writes ? await writers.enter(soonest(deadline)) : () => {}
      let client: pg.PoolClient
      try {
        client = await take(pool, soonest(deadline))
      } catch (error) {
        leave()
        throw error
      }
      const connection = lendable.get(client) as ReturnType<typeof lend>
      connection.begin(deadline)
      try {
        return await run(connection)
      } finally {
        const lost = connection.lost()
        // What was given up is still at work there, and counts until it is not.
        if (lost instanceof LateError) void giveUp(client).then(leave)
        else {
          client.release(lost !== null)
          leave()
        }
      }
    },
    close: () => pool.end(),
  }
}

function soonest(deadline: number): number {
  return Math.min(deadline, performance.now() + ANSWER_MS)
}

async function giveUp(client: pg.PoolClient): Promise<void> {
  const over = [once(client, 'drain'), once(client, 'end'), sleep(CANCEL_MS, undefined, { ref: false })]
  cancelOnServer(client)
  // An error of the connection ends it too.
  await Promise.race(over).catch(() => {})
  client.release(true)
}

/** Places for a few at a time; others wait in line. */
function createPlaces(free: number) {
  const waiting = new Set<() => void>()

  function leave(): void {
    const [next] = waiting
    if (next === undefined) free += 1
    else {
      waiting.delete(next)
      next()
    }
  }

  return {
    async enter(deadline: number): Promise<() => void> {
      if (free > 0) free -= 1
      else {
        await new Promise<void>((resolve, reject) => {
          const timer = setTimeout(
            () => {
              waiting.delete(enter)
              reject(new LateError())
            },
            Math.max(1, deadline - performance.now()),
          )
          const enter = () => {
            clearTimeout(timer)
            resolve()
          }
          waiting.add(enter)
        })
      }
      return leave
    },
  }
}

/** The pool's own limit counts from when it begins to connect; a caller has waited before that. */
function take(pool: pg.Pool, deadline: number): Promise<pg.PoolClient> {
  return new Promise((resolve, reject) => {
    let isLate = false
    const timer = setTimeout(
      () => {
        isLate = true
        reject(new LateError())
      },
      Math.max(1, deadline - performance.now()),
    )
    pool.connect().then(
      (client) => {
        clearTimeout(timer)
        if (isLate) client.release()
        else resolve(client)
      },
      (error: Error) => {
        clearTimeout(timer)
        reject(new NoConnectionError(error))
      },
    )
  })
}

function lend(client: pg.PoolClient): Connection & { begin(deadline: number): void } {
  let deadline = 0
  let lost: Error | null = null
  let committing = false
  const lose = (error: Error) => {
    lost ??= error
  }
  client.on('error', lose)
  client.on('end', () => lose(new Error('the database closed the connection')))

  /** The driver has a limit of its own, but leaves the connection in use, with somebody else's answer under way. */
  function bounded<R extends pg.QueryResultRow>(query: pg.QueryConfig): Promise<pg.QueryResult<R>> {
    if (lost !== null) return Promise.reject(lost)
    if (query.text === 'commit') committing = true
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => {
          const late = new LateError()
          lose(late)
          reject(late)
        },
        Math.max(1, soonest(deadline) - performance.now()),
      )
      client.query<R>({ ...query, values: query.values?.map(withoutNul) ?? [] }).then(
        (result) => {
          clearTimeout(timer)
          resolve(result)
        },
        (error: Error & { code?: string }) => {
          clearTimeout(timer)
          if (error.code === undefined || GONE.test(error.code)) lose(error)
          reject(error)
        },
      )
    })
  }

  const lent = { query: (text: string, values: readonly unknown[]) => bounded({ text, values: [...values] }), release: () => {} }
  const pool = { connect: async () => lent, end: async () => {} }
  return {
    // The dialect asks for more than it uses: a pool of one connection, which is this.
    db: new Kysely<Schema>({ dialect: new PostgresDialect({ pool: pool as unknown as pg.Pool }) }),
    prepared: async <T>(name: string, text: string, values: readonly unknown[]) =>
      (await bounded<pg.QueryResultRow>({ name, text, values: [...values] })).rows as T[],
    begin(until) {
      deadline = until
      committing = false
    },
    lost: () => lost,
    isCommitting: () => committing,
  }
}

/** PostgreSQL's text holds no U+0000. Nothing that is stored has one, so a search for one finds nothing, as on SQLite. */
function withoutNul(value: unknown): unknown {
  return typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\u{fffd}') : value
}
