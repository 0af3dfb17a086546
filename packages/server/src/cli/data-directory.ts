import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { AuthError } from '../errors.ts'
import { problemWithPrivateDirectory } from '../private-files.ts'
import { ConfigError } from './config-error.ts'
import { PREFIX } from './variables.ts'

/** @throws `not_found`. A database that lost its file but not its log is not missing: opening it says so. */
export function requireDatabase(file: string): void {
  if (existsSync(file) || existsSync(`${file}-wal`)) return
  throw new AuthError('not_found', {
    message: `there is no database at ${file}; say where it is with ${PREFIX}DATABASE_URL or ${PREFIX}DATA_DIR, or make one with: trpc-login migrate`,
  })
}

/** Makes the directory where it is missing. @throws ConfigError when it cannot, and when other users can enter it */
export function prepareDataDir(dataDir: string): void {
  try {
    const made = mkdirSync(dataDir, { recursive: true, mode: 0o700 })
    // Whatever mask the process was given.
    if (made !== undefined) chmodSync(dataDir, 0o700)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new ConfigError(`${dataDir} cannot be made: ${code}; name another directory with ${PREFIX}DATA_DIR`, { cause })
  }
  const problem = problemWithPrivateDirectory(dataDir)
  if (problem !== null) throw new ConfigError(problem)
}
