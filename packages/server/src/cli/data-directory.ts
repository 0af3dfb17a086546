import { chmodSync, existsSync, mkdirSync, statSync } from 'node:fs'
import { AuthError } from '../errors.ts'
import { ConfigError, PREFIX } from './variables.ts'

/** @throws `not_found`. A database that lost its file but not its log is not missing: opening it says so. */
export function requireDatabase(file: string): void {
  if (existsSync(file) || existsSync(`${file}-wal`)) return
  throw new AuthError('not_found', {
    message: `there is no database at ${file}; say where it is with ${PREFIX}DATABASE_URL or ${PREFIX}DATA_DIR, or make one with: trpc-login migrate`,
  })
}

/** Makes the directory where it is missing. @throws ConfigError when other users can enter it */
export function prepareDataDir(dataDir: string): void {
  const made = mkdirSync(dataDir, { recursive: true, mode: 0o700 })
  if (made !== undefined) chmodSync(dataDir, 0o700)
  if (process.platform !== 'win32' && (statSync(dataDir).mode & 0o077) !== 0) {
    throw new ConfigError(`${dataDir} can be entered by other users; run: chmod 700 ${dataDir}`)
  }
}
