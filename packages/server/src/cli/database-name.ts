import type { Config } from './config.ts'

/** Where the database is, without what nobody is to read. */
export function nameOfDatabase({ database }: Pick<Config, 'database'>): string {
  return database.kind === 'sqlite' ? database.file : database.address
}
