import { loadConfig } from './config.ts'
import { print } from './output.ts'

/** Brings the schema up to date, or says what that would do. */
export async function migrate(options: { dryRun?: boolean; json?: boolean }): Promise<void> {
  const storage = loadConfig().openStorage({ migrate: false })
  try {
    const applied = await storage.migrate({ dryRun: options.dryRun ?? false })
    const verb = options.dryRun === true ? 'would apply' : 'applied'
    print({ dryRun: options.dryRun ?? false, migrations: applied }, options, () =>
      applied.length === 0 ? ['the schema is up to date'] : applied.map((name) => `${verb} ${name}`),
    )
  } finally {
    await storage.close()
  }
}
