// Runs a program of this workspace on a supported Node, after installing what it needs.
// Plain JavaScript without dependencies, as all that it imports: it must work where nothing is installed, on any Node >= 18.
import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { isNpmGone, watchNpm } from './asker.mjs'
import { install } from './install.mjs'
import { checkNode, findNode } from './node.mjs'

const here = dirname(fileURLToPath(import.meta.url))

const [program, ...args] = process.argv.slice(2)
if (program === undefined) {
  console.error('usage: node scripts/run.mjs PROGRAM [ARGS...]')
  process.exit(2)
}

await install(program, checkNode)
if (isNpmGone()) process.exit(143)
run(findNode(), [join(dirname(here), program), ...args])

function run(node, argv) {
  // Children must find the same Node first, so that "#!/usr/bin/env node" means a supported one.
  const env = { ...process.env, PATH: `${dirname(node)}${process.platform === 'win32' ? ';' : ':'}${process.env.PATH ?? ''}` }
  const stopWith = `${pathToFileURL(join(here, 'stop-with.mjs')).href}?parent=${process.pid}`
  const flags = ['--conditions=@trpc-login/source', `--import=${stopWith}`]
  const child = spawn(node, [...flags, ...argv], { stdio: 'inherit', env })
  let isTold = false
  const stop = (signal) => {
    isTold = true
    child.kill(signal)
  }
  // A terminal sends its interrupt to the whole group; a second one would mean "exit now" to a server that drains.
  process.on('SIGINT', () => process.stdin.isTTY || stop('SIGINT'))
  process.on('SIGTERM', () => stop('SIGTERM'))
  process.on('SIGHUP', () => child.kill('SIGHUP'))
  watchNpm(() => isTold || stop('SIGTERM'))
  child.on('error', (error) => {
    console.error(`cannot run ${node}: ${error.message}`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : signal === 'SIGTERM' ? 143 : 1)))
}
