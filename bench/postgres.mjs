// A PostgreSQL of its own: the one that BENCH_DATABASE_URL names, or one made from the machine's programs for this run.
import { execFileSync, spawn } from 'node:child_process'
import { chownSync, globSync } from 'node:fs'
import { createServer } from 'node:net'

/** `null` where there is none to be had. */
export async function startPostgres(dir) {
  const url = process.env.BENCH_DATABASE_URL
  if (url !== undefined) return { url, stop: async () => {} }
  const bin = globSync('/usr/lib/postgresql/*/bin').toSorted().at(-1)
  if (bin === undefined) return null
  const user = ownerFor(dir)
  const as = { uid: user?.uid, gid: user?.gid, cwd: dir, env: { PATH: process.env.PATH, LC_ALL: 'C' } }
  const data = `${dir}/data`
  execFileSync(`${bin}/initdb`, ['-D', data, '-A', 'trust', '-U', 'bench', '-E', 'UTF8'], { ...as, stdio: 'ignore' })
  const port = await freePort()
  const child = spawn(`${bin}/postgres`, ['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', dir], { ...as, stdio: 'ignore' })
  await untilReady(`${bin}/pg_isready`, port)
  return {
    url: `postgres://bench@127.0.0.1:${port}/postgres`,
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', resolve)
        child.kill('SIGINT')
      }),
  }
}

/** PostgreSQL refuses to run as root. */
function ownerFor(dir) {
  if (process.getuid() !== 0) return null
  const [uid, gid] = idsOf('postgres') ?? idsOf('nobody')
  chownSync(dir, uid, gid)
  execFileSync('chmod', ['a+x', `${dir}/..`])
  return { uid, gid }
}

function idsOf(name) {
  try {
    return ['-u', '-g'].map((flag) => Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })))
  } catch {
    return null
  }
}

async function untilReady(program, port) {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    try {
      return void execFileSync(program, ['-h', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' })
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  throw new Error('PostgreSQL did not start')
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}
