// Runs a program of this workspace on a supported Node, after installing what the lockfile asks for.
// Plain JavaScript without dependencies: it must work where nothing is installed, on any Node >= 18.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PNPM } from './pnpm.mjs'

const NODE_FLOOR = [24, 15]
const root = dirname(dirname(fileURLToPath(import.meta.url)))
const stamp = join(root, 'node_modules', '.installed')

const [program, ...args] = process.argv.slice(2)
if (program === undefined) {
  console.error('usage: node scripts/run.mjs PROGRAM [ARGS...]')
  process.exit(2)
}

await install()
run(findNode(), ['--conditions=@trpc-login/source', join(root, program), ...args])

async function install() {
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'pnpm-lock.yaml')))
    .update(`${process.platform}-${process.arch}`)
    .digest('hex')
  const installed = () => existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted
  if (installed()) return
  const unlock = await lock(join(root, '.install-lock'), installed)
  try {
    if (installed()) return
    console.error('installing dependencies (once per lockfile) ...')
    const npx = process.platform === 'win32' ? 'npx.cmd' : 'npx'
    const command = ['-y', `pnpm@${PNPM}`, 'install', '--frozen-lockfile', '--reporter=append-only']
    // Standard output belongs to the program that runs afterwards.
    const result = spawnSync(npx, command, { cwd: root, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' })
    if (result.status !== 0) {
      console.error(`installing failed: npx ${command.join(' ')}`)
      process.exit(1)
    }
    writeFileSync(stamp, wanted)
  } finally {
    unlock()
  }
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

function findNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  const enough = major > NODE_FLOOR[0] || (major === NODE_FLOOR[0] && minor >= NODE_FLOOR[1])
  if (enough) return process.execPath
  const names = [`node-${process.platform}-${process.arch}`, `node-bin-${process.platform}-${process.arch}`]
  const found = names.map((name) => join(root, 'node_modules', name, 'bin', 'node')).find((path) => existsSync(path))
  if (found !== undefined) return found
  console.error(
    `Node >= ${NODE_FLOOR.join('.')} is needed; this one is ${process.versions.node} and none is bundled for ${process.platform}-${process.arch}`,
  )
  process.exit(1)
}

function run(node, argv) {
  // Children must find the same Node first, so that "#!/usr/bin/env node" means a supported one.
  const env = { ...process.env, PATH: `${dirname(node)}${process.platform === 'win32' ? ';' : ':'}${process.env.PATH ?? ''}` }
  const child = spawn(node, argv, { stdio: 'inherit', env })
  // A terminal sends its interrupt to the whole group; a second one would mean "exit now" to a server that drains.
  process.on('SIGINT', () => process.stdin.isTTY || child.kill('SIGINT'))
  for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
  child.on('error', (error) => {
    console.error(`cannot run ${node}: ${error.message}`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : signal === 'SIGTERM' ? 143 : 1)))
}
