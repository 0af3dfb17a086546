import { closeSync, existsSync, fsyncSync, linkSync, openSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { sqlite } from './driver.ts'

// All pages in one step: copied in several, it would begin anew whenever another process writes.
const ALL_PAGES = 2 ** 31 - 1
const SQLITE_FULL = 13

/**
 * Copies a database while it is written to, as it was at one instant. The copy is complete, checked and on the disk before it has its
 * name. Answers its size.
 * @throws TypeError when the database is not there, and when the file is, or cannot be written
 */
export async function backUp(database: string, file: string): Promise<number> {
  if (!existsSync(database)) throw new TypeError(`${database} is not there`)
  const partial = `${file}.${process.pid}.partial`
  try {
    // Made by us first: SQLite would create it with the process's own mask.
    closeSync(openSync(partial, 'wx', 0o600))
    const source = new sqlite.DatabaseSync(database, { readOnly: true, timeout: 5000 })
    try {
      await sqlite.backup(source, partial, { rate: ALL_PAGES })
    } finally {
      source.close()
    }
    const damage = findDamage(partial)
    if (damage !== null) throw new TypeError(`the copy is damaged, and so may ${database} be: ${damage}`)
    for (const path of [partial, dirname(file)]) sync(path)
    // Not a renaming, which would replace what has the name already.
    linkSync(partial, file)
    sync(dirname(file))
    return statSync(file).size
  } catch (error) {
    throw refusalOf(file, error)
  } finally {
    for (const ending of ['', '-wal', '-shm']) rmSync(`${partial}${ending}`, { force: true })
  }
}

/** What is wrong with the target is said of it, for otherwise it is the database that is meant. */
function refusalOf(file: string, error: unknown): unknown {
  const { code, syscall, errcode } = error as NodeJS.ErrnoException & { errcode?: number }
  if (code === 'EEXIST') return new TypeError(`${file} exists; it is not replaced`)
  if (errcode === SQLITE_FULL) return new TypeError(`${file} cannot be written: its disk is full`)
  return syscall === undefined ? error : new TypeError(`${file} cannot be written: ${code}`)
}

/** What SQLite's own check says first, or `null`. */
export function findDamage(path: string): string | null {
  const db = new sqlite.DatabaseSync(path, { readOnly: true, timeout: 5000 })
  try {
    const { quick_check: answer } = db.prepare('pragma quick_check(1)').get() as { quick_check: string }
    return answer === 'ok' ? null : answer
  } catch (error) {
    return (error as Error).message
  } finally {
    db.close()
  }
}

function sync(path: string): void {
  const descriptor = openSync(path, 'r')
  fsyncSync(descriptor)
  closeSync(descriptor)
}
