import { statSync } from 'node:fs'
import { AuthError } from '../errors.ts'
import { inspect } from '../storage/sqlite/inspect.ts'
import type { Config } from './config.ts'
import { PREFIX } from './variables.ts'

/**
 * Looks into a file before it is opened, which would write to whatever database it is.
 * @throws TypeError where another program's tables are in the way; `not_found` where nothing of ours is in it and may not be made
 */
export function requireOwnFile({ database }: Pick<Config, 'database'>, { create }: { create: boolean }): void {
  // What is empty, or lost, is told when it is opened.
  if (database.kind !== 'sqlite' || (statSync(database.file, { throwIfNoEntry: false })?.size ?? 0) === 0) return
  if (inspect(database.file, { whole: false }).isOurs || create) return
  throw new AuthError('not_found', {
    message: `${database.file} holds nothing of ours; say where the database is with ${PREFIX}DATABASE_URL, or run: trpc-login migrate`,
  })
}
