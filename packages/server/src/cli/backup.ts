import { resolve } from 'node:path'
import { backUp } from '../storage/sqlite/backup.ts'
import { loadConfig } from './config.ts'
import { requireDatabase } from './data-directory.ts'
import { sayDatabase } from './open.ts'
import { print, UsageError } from './output.ts'

/** Copies the embedded database to a file that is not there yet, while servers go on. */
export async function backupDatabase(file: string, options: { json?: boolean }): Promise<void> {
  const config = loadConfig()
  const { database } = config
  if (database.kind === 'postgres')
    throw new UsageError(
      `${database.address} is backed up with PostgreSQL's own means, such as: pg_dump --format=custom --file=${file} URL`,
    )
  requireDatabase(database.file)
  sayDatabase(config)
  const target = resolve(file)
  const bytes = await backUp(database.file, target)
  print({ file: target, bytes }, options, () => [`backed up ${database.file} to ${target} (${bytes} bytes)`])
}
