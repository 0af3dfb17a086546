import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createAuth, postgresStorage, type Storage, silentLog, sqliteStorage } from '@trpc-login/server'
import { makeDatabase } from './postgres-database.ts'
import { createPostgresServer, type PostgresServer } from './postgres-server.ts'
import { PASSWORD } from './server.ts'

const MAIN = join(import.meta.dirname, '../../server/src/cli/main.ts')

export interface Served {
  readonly child: ChildProcess
  readonly url: string
  readonly port: number
  readonly ca: string
  /** Drains it; resolves with its exit code. */
  stop(): Promise<number | null>
}

/** For programs that are no tests: `trpc-login serve` on this Node, once it accepts connections. */
export async function serve(dir: string, env: Record<string, string>, args: readonly string[] = []): Promise<Served> {
  const child = spawn(process.execPath, ['--conditions=@trpc-login/source', MAIN, 'serve', ...args], {
    env: { ...process.env, TRPC_LOGIN_DATA_DIR: dir, TRPC_LOGIN_PORT: '0', TRPC_LOGIN_TRUSTED_PROXIES: '127.0.0.1', ...env },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
  const killIt = () => child.kill('SIGKILL')
  process.once('exit', killIt)
  void ended.then(() => process.off('exit', killIt))
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const found = /listening on (\S+)/.exec(text)?.[1]
      if (found !== undefined) resolve(found)
    })
    void ended.then((code) => reject(new Error(`the server ended with ${code}`)))
  })
  return {
    child,
    url,
    port: Number(new URL(url).port),
    ca: readFileSync(join(dir, 'dev-ca.pem'), 'utf8'),
    stop() {
      child.kill('SIGTERM')
      return ended
    },
  }
}

export interface LoadDatabase {
  /** What tells `serve` where it is. */
  readonly env: Record<string, string>
  readonly server: PostgresServer | null
  remove(): Promise<void>
}

/** A database with users `user0`, `user1` and so on: a file in `dir`, or one of a PostgreSQL that keeps its promises to the disk. */
export async function makeLoadDatabase(engine: string, dir: string, users: number): Promise<LoadDatabase> {
  if (engine === 'sqlite') {
    await addUsers(sqliteStorage({ path: join(dir, 'login.db') }), users)
    return { env: {}, server: null, remove: async () => {} }
  }
  const server = await createPostgresServer({ durable: true })
  const { url } = await makeDatabase(server.url('postgres'))
  const storage = postgresStorage({ url })
  await storage.migrate()
  await addUsers(storage, users)
  return { env: { TRPC_LOGIN_DATABASE_URL: url }, server, remove: server.remove }
}

async function addUsers(storage: Storage, users: number): Promise<void> {
  const auth = createAuth({ storage, log: silentLog })
  for (let i = 0; i < users; i += 1) await auth.users.create({ username: `user${i}`, password: PASSWORD })
  await auth.close()
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0
}
