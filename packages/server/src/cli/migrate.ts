import { existsSync } from 'node:fs'
import { openSqlite } from '../storage/sqlite.ts'
import { type Config, loadConfig } from './config.ts'
import { sayDatabase } from './open.ts'
import { print } from './output.ts'
import { requireOwnFile } from './own-file.ts'

/** Brings the schema up to date, or says what that would do. */
export async function migrate(options: { dryRun?: boolean; json?: boolean }): Promise<void> {
  const { dryRun = false } = options
  const config = loadConfig()
  requireOwnFile(config, { create: true })
  const storage = dryRun && isMissing(config) ? openSqlite({ path: ':memory:', migrate: false }) : config.openStorage({ migrate: false })
  sayDatabase(config)
  try {
    const applied = await storage.migrate({ dryRun })
    const verb = dryRun ? 'would apply' : 'applied'
    print({ dryRun, migrations: applied }, options, () =>
      applied.length === 0 ? ['the schema is up to date'] : applied.map((name) => `${verb} ${name}`),
    )
  } finally {
    await storage.close()
  }
}

/** A dry run makes nothing, so it asks a database that is nowhere. */
function isMissing({ database }: Config): boolean {
  return database.kind === 'sqlite' && !existsSync(database.file) && !existsSync(`${database.file}-wal`)
}
