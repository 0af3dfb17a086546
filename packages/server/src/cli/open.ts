import { type Auth, createAuth } from '../auth.ts'
import { silentLog } from '../log.ts'
import type { Config } from './config.ts'
import { nameOfDatabase } from './database-name.ts'
import { say } from './output.ts'
import { requireOwnFile } from './own-file.ts'

/**
 * Runs a command on the configured database, with everything that is configured for the server too. Use `create` where the command
 * may make the database. @throws `not_found` where it is missing and may not be made
 */
export async function withAuth(config: Config, act: (auth: Auth) => Promise<void>, { create = false } = {}): Promise<void> {
  requireOwnFile(config, { create })
  const storage = config.openStorage({ create })
  sayDatabase(config)
  const auth = createAuth({ storage, ...config.auth, log: silentLog })
  // A port of 0 is one that only the server knows.
  if (config.server.port !== 0) auth.useBaseUrl(listeningOrigin(config))
  try {
    await act(auth)
  } finally {
    await auth.close()
  }
}

/** On standard error, so that nobody changes one database and thinks of another. */
export function sayDatabase(config: Config): void {
  say(`database: ${nameOfDatabase(config)}`)
}

function listeningOrigin({ server: { host, port } }: Config): string {
  return new URL(`https://${host.includes(':') ? `[${host}]` : host}:${port}`).origin
}
