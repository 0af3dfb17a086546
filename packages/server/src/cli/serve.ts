import { initTRPC } from '@trpc/server'
import { createAuth } from '../auth.ts'
import type { AuthContext } from '../context.ts'
import { formatAuthError } from '../errors.ts'
import { runUntilStopped } from '../http/run.ts'
import { createServer } from '../http/server.ts'
import { transformer } from '../transformer.ts'
import { loadConfig } from './config.ts'

/** Serves the auth router alone, until a signal ends it. */
export async function serve(): Promise<void> {
  const { auth: options, server, openStorage } = loadConfig()
  const auth = createAuth({ storage: openStorage(), ...options })
  // A proxy's address is that of every caller, and its own limits stand in front.
  const behindProxy = options.trustedProxies.length > 0 ? { maxConnectionsPerAddress: 4000 } : {}
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  await runUntilStopped(await createServer({ auth, router: t.router({ auth: auth.router }), ...server, ...behindProxy }))
}
