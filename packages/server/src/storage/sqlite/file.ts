import { closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { problemWithDirectory } from '../../private-files.ts'
import { sqlite } from './driver.ts'

export const MEMORY = ':memory:'

/** How long a start waits for what other processes are about to do. */
export const START_WAIT_MS = 5000
/** How long a running server stands still for another that writes, before it does something else and comes back. */
export const STAND_STILL_MS = 2
const FILL_MS = 2000
export const SQLITE_BUSY = 5
// Earlier versions can lose or damage data when a checkpoint meets a restarting log ("WAL-reset bug").
const SQLITE_FLOOR = [3, 51, 3] as const

/** A connection to a file that was made fit, or to memory. */
export function open(path: string): DatabaseSync {
  const db = new sqlite.DatabaseSync(path, { timeout: START_WAIT_MS, enableForeignKeyConstraints: true })
  try {
    waitWhileLocked(() => db.exec('pragma journal_mode = wal'))
    // What does not fit into memory would go to a directory that nobody named.
    db.exec('pragma synchronous = full; pragma trusted_schema = off; pragma temp_store = memory')
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/** SQLite waits for other writers by itself, but not where two first starts would both change the mode of one fresh file. */
function waitWhileLocked(act: () => void): void {
  const until = performance.now() + START_WAIT_MS
  for (;;) {
    try {
      return act()
    } catch (error) {
      if ((error as { errcode?: number }).errcode !== SQLITE_BUSY || performance.now() > until) throw error
    }
    standStill()
  }
}

/** A start has nothing else to do. */
function standStill(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, STAND_STILL_MS)
}

/**
 * Makes the file where there is none yet. What was there and is gone is not made anew: an empty store would sign everybody out, and
 * let anybody register.
 * @throws TypeError when it can be read by others or not written by us, or when something of it is missing
 */
export function prepareFile(path: string): void {
  prepareDirectory(dirname(path))
  // The log first: another process that starts makes the file before its log.
  const hasLog = existsSync(`${path}-wal`)
  const isNew = !existsSync(path)
  if (isNew && hasLog) throw new TypeError(`${path} is missing, and its log ${path}-wal is not; restore both, or a backup`)
  try {
    // Made by us first: SQLite would create it with the process's own mask, and its log files copy its mode.
    closeSync(openSync(path, 'a', 0o600))
  } catch (cause) {
    throw new TypeError(`${path} cannot be written: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, { cause })
  }
  if (!isNew && !isFilledWithin(path, FILL_MS))
    throw new TypeError(`${path} is empty, as no database of ours is; restore a backup, or remove the file to start over`)
  if (process.platform === 'win32') return
  const wide = statSync(path).mode & 0o077
  if (wide !== 0) throw new TypeError(`${path} can be read by other users; run: chmod 600 ${path}`)
}

/** @throws TypeError when it cannot be made, or everybody could put a log of their own beside the database */
function prepareDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw new TypeError(`${directory} cannot be made: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, { cause })
  }
  const problem = problemWithDirectory(directory)
  if (problem !== null) throw new TypeError(problem)
}

/** Another process may be about to make it. */
function isFilledWithin(path: string, ms: number): boolean {
  const until = performance.now() + ms
  while (statSync(path).size === 0) {
    if (performance.now() > until) return false
    standStill()
  }
  return true
}

/** @throws TypeError when the engine is too old */
export function requireVersion(db: DatabaseSync): void {
  const { version } = db.prepare('select sqlite_version() as version').get() as { version: string }
  const parts = version.split('.').map(Number)
  const difference = SQLITE_FLOOR.map((floor, index) => (parts[index] ?? 0) - floor).find((gap) => gap !== 0) ?? 0
  if (difference < 0)
    throw new TypeError(`SQLite ${version} can lose data; ${SQLITE_FLOOR.join('.')} or newer is needed, which Node 24.15 brings`)
}
