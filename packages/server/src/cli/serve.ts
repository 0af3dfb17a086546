import cluster from 'node:cluster'
import { availableParallelism } from 'node:os'
import { initTRPC } from '@trpc/server'
import { createAuth } from '../auth.ts'
import type { AuthContext } from '../context.ts'
import { formatAuthError } from '../errors.ts'
import { runUntilStopped } from '../http/run.ts'
import { createServer, type RunningServer } from '../http/server.ts'
import { transformer } from '../transformer.ts'
import { requireSoundFile } from './check-database.ts'
import { type Config, loadConfig } from './config.ts'
import { nameOfDatabase } from './database-name.ts'
import { UsageError } from './output.ts'
import { runWorkers, work } from './workers.ts'

const MAX_WORKERS = 64
const MAX_PER_ADDRESS = 200
// A proxy's address is that of every caller, and its own limits stand in front.
const MAX_PER_PROXY = 4000

/** Serves the auth router alone, from one process or from several that share port and database, until a signal ends it. */
export async function serve(options: { workers: string }): Promise<void> {
  const workers = Number(options.workers)
  if (!/^\d{1,2}$/.test(options.workers) || workers < 1 || workers > MAX_WORKERS)
    throw new UsageError(`--workers must be 1 to ${MAX_WORKERS}, got ${options.workers}`)
  const config = loadConfig()
  if (cluster.isPrimary) requireSoundFile(config)
  if (workers === 1) return runUntilStopped(await start(config, {}))
  if (cluster.isPrimary) return runWorkers(workers)
  // What one process may take of the machine, and give to one address, they divide.
  const share = { workers, hashes: Math.max(1, Math.floor(availableParallelism() / workers)) }
  return work((ticketKeys) => start(config, { ...share, ticketKeys }))
}

async function start(config: Config, share: { workers?: number; hashes?: number; ticketKeys?: Buffer }): Promise<RunningServer> {
  const { auth: options, server, openStorage } = config
  const { workers = 1, hashes, ticketKeys } = share
  const password = hashes === undefined ? {} : { atOnce: hashes }
  const auth = createAuth({ storage: openStorage(), ...options, password })
  auth.log.info({ database: nameOfDatabase(config) }, 'database_opened')
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const perAddress = options.trustedProxies.length > 0 ? MAX_PER_PROXY : MAX_PER_ADDRESS
  const limits = { maxConnectionsPerAddress: Math.ceil(perAddress / workers), ...(ticketKeys === undefined ? {} : { ticketKeys }) }
  try {
    // A schema that is behind is told by the server; it would fail here with less of a reason.
    if ((await auth.storage.schema()).pending.length === 0) await auth.storage.check()
    return await createServer({ auth, router: t.router({ auth: auth.router }), ...server, ...limits })
  } catch (error) {
    // Its connections would keep the process from ending.
    await auth.close()
    throw error
  }
}
