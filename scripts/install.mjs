// Installs what the lockfile asks for, once per lockfile: all of it, or the little that the quickstart and the command need.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PNPM } from './pnpm.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const ALL = { options: [], stamp: join(root, 'node_modules', '.installed') }
/**
 * What the quickstart and the command need: no tools, no browser, no PostgreSQL. Peers of the packages are dependencies of the workspace,
 * because those of development stay out. The lockfile is as good as the code beside it, which runs in any case; to have the registry judge
 * each of its entries, as the installer does where everything is installed, would take longer than all else.
 */
const START = {
  options: ['--prod', '--filter', '@trpc-login/example-quickstart...', '--filter', '@trpc-login/node', '--trust-lockfile'],
  stamp: join(root, 'node_modules', '.installed-for-start'),
}
const START_FOLDERS = ['examples/quickstart/', 'packages/server/']

/** Installs what a program needs. `check` is called after installing, and ends the process where it is of no use here. */
export async function install(program, check) {
  const part = START_FOLDERS.some((folder) => program.startsWith(folder)) ? START : ALL
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'pnpm-lock.yaml')))
    .update(`${process.platform}-${process.arch}`)
    .digest('hex')
  const isStamped = ({ stamp }) => existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted
  const isInstalled = () => isStamped(ALL) || isStamped(part)
  if (isInstalled()) return
  const unlock = await lock(join(root, '.install-lock'), isInstalled)
  try {
    if (isInstalled()) return
    console.error('installing dependencies (once per lockfile) ...')
    // The two are one tree: what one of them puts there is not what the other had.
    for (const { stamp } of [ALL, START]) rmSync(stamp, { force: true })
    runPnpm(['install', ...part.options, '--frozen-lockfile', '--reporter=append-only'])
    check()
    mkdirSync(dirname(part.stamp), { recursive: true })
    writeFileSync(part.stamp, wanted)
  } finally {
    unlock()
  }
}

function runPnpm(args) {
  const isWindows = process.platform === 'win32'
  const command = ['-y', `pnpm@${PNPM}`, ...args]
  // Standard output belongs to the program that runs afterwards.
  const { status } = spawnSync(isWindows ? 'npx.cmd' : 'npx', command, { cwd: root, stdio: ['ignore', 2, 2], shell: isWindows })
  if (status === 0) return
  console.error(`installing failed: npx ${command.join(' ')}`)
  process.exit(1)
}

/** Two starts at once must not install into one tree: the file is made by exactly one of them, and names it. */
async function lock(path, done) {
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' })
      const release = () => rmSync(path, { force: true })
      process.once('exit', release)
      return release
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
      if (done()) return () => {}
      if (isStale(path)) rmSync(path, { force: true })
      else await new Promise((resolve) => setTimeout(resolve, 250))
    }
  }
}

/** Whether the process that made the lock is gone, as after kill -9. */
function isStale(path) {
  try {
    const pid = Number(readFileSync(path, 'utf8'))
    if (pid === 0) return Date.now() - statSync(path).mtimeMs > 5000
    process.kill(pid, 0)
    return false
  } catch (error) {
    return error.code === 'ESRCH'
  }
}
