import type { Auth } from '../auth.ts'

/**
 * Lets a server start on a database that has what it needs. One that a newer program migrated has it too: such a program only adds
 * what this one does not look at, so that servers can be replaced one by one.
 * @throws TypeError when the schema is behind
 */
export async function requireSchema({ storage, log }: Auth): Promise<void> {
  const { pending, newer } = await storage.schema()
  if (pending.length > 0) throw new TypeError(`the database schema lacks ${pending.join(', ')}; run: trpc-login migrate`)
  if (newer.length > 0) log.warn({ versions: newer }, 'schema_newer')
}
