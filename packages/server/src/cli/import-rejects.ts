import { closeSync, existsSync, lstatSync, openSync, writeSync } from 'node:fs'
import { AuthError } from '../errors.ts'
import type { Place } from './import-records.ts'
import { say, toJson } from './output.ts'

const SHOWN = 5
const MAX_REASON = 500

/** Where what could not be taken is listed. */
export interface Rejects {
  add(place: Place, reason: string): void
  readonly count: number
  /** The file, where there is one. */
  close(): string | null
}

/**
 * A file that is made with the first entry and replaces nothing, for the owner alone: it stands beside a file that others may have
 * chosen the place of. Without a path the first few are only shown. @throws `conflict` where something has its name already
 */
export function createRejects(path: string | null): Rejects {
  if (path !== null && lstatSync(path, { throwIfNoEntry: false }) !== undefined) throw taken(path)
  let file: number | null = null
  let count = 0

  return {
    add({ line, lastLine }, reason) {
      count += 1
      const lines = lastLine === line ? { line } : { line, lastLine }
      const short = reason.length > MAX_REASON ? `${reason.slice(0, MAX_REASON)} ...` : reason
      if (count <= SHOWN) say(`${lastLine === line ? `line ${line}` : `lines ${line} to ${lastLine}`}: ${short}`)
      if (path === null) return
      file ??= open(path)
      write(path, file, `${toJson({ ...lines, reason: short })}\n`)
    },
    get count() {
      return count
    },
    close() {
      if (file !== null) closeSync(file)
      return file === null ? null : path
    },
  }
}

function open(path: string): number {
  try {
    // Exclusive, which follows no link.
    return openSync(path, 'wx', 0o600)
  } catch (error) {
    throw existsSync(path) ? taken(path) : unwritable(path, error)
  }
}

function write(path: string, file: number, text: string): void {
  try {
    writeSync(file, text)
  } catch (error) {
    throw unwritable(path, error)
  }
}

function taken(path: string): AuthError {
  return new AuthError('conflict', {
    message: `${path} is there already and is not replaced; move it away, or name another with --rejects`,
  })
}

function unwritable(path: string, cause: unknown): Error {
  const code = (cause as NodeJS.ErrnoException).code ?? String(cause)
  return new Error(`${path} cannot be written: ${code}; name another file with --rejects`, { cause })
}
