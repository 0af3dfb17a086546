import { randomBytes } from 'node:crypto'
import { lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const STEP_MS = 20
// What is done under a lock takes milliseconds: one this old belongs to a program that was killed.
const STALE_MS = 5000
const PATIENCE_MS = 20_000

/**
 * Runs alone among the programs that ask for the same lock, a file; makes its directory, for its owner alone.
 * @throws Error when the lock cannot be had for long, as when it belongs to another user
 */
export async function withLock<T>(lock: string, run: () => Promise<T>): Promise<T> {
  await mkdir(dirname(lock), { recursive: true, mode: 0o700 })
  const until = performance.now() + PATIENCE_MS
  while (!(await take(lock))) {
    if (performance.now() > until) throw new Error(`${lock} is held by another program; remove it if there is none`)
    await wait(STEP_MS)
    await removeStale(lock)
  }
  try {
    return await run()
  } finally {
    await rm(lock, { force: true })
  }
}

async function take(lock: string): Promise<boolean> {
  try {
    await (await open(lock, 'wx', 0o600)).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Takes a stale lock out of the way under another name, so that of those who found it stale none removes the lock of the next. */
async function removeStale(lock: string): Promise<void> {
  if (!(await isStale(lock))) return
  const aside = `${lock}.${randomBytes(6).toString('hex')}`
  const isMine = await rename(lock, aside).then(
    () => true,
    () => false,
  )
  if (!isMine) return
  // Somebody was faster, and this is the next one's.
  if (!(await isStale(aside))) await rename(aside, lock)
  else await rm(aside, { force: true })
}

async function isStale(lock: string): Promise<boolean> {
  const stats = await lstat(lock).catch(() => null)
  return stats !== null && Date.now() - stats.mtimeMs >= STALE_MS
}
