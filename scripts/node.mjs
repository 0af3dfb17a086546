// Finds a Node that the packages support: this one, or the one that npm brought.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const FLOOR = [24, 15]
const here = dirname(fileURLToPath(import.meta.url))
const kind = `${process.platform}-${process.arch}`

/** The path of a supported Node; ends the process where there is none. */
export function findNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > FLOOR[0] || (major === FLOOR[0] && minor >= FLOOR[1])) return process.execPath
  // Not a dependency of the workspace's root: npm would find it in the path of scripts, and start it before anything is checked.
  const paths = [`node-${kind}`, `node-bin-${kind}`].map((name) => join(here, 'node/node_modules', name, 'bin', 'node'))
  const found = paths.find((path) => existsSync(path))
  if (found !== undefined) return found
  return fail(`this is Node ${process.versions.node}, and npm brings no newer one for ${kind}`)
}

/** Ends the process where that Node does not start, as for lack of a library. */
export function checkNode() {
  const node = findNode()
  if (node === process.execPath) return
  const { status, error, stderr } = spawnSync(node, ['--version'], { encoding: 'utf8' })
  if (status === 0) return
  const library = /(\S+): cannot open shared object file/.exec(stderr ?? '')?.[1]
  const reason = library === undefined ? (error?.message ?? stderr.trim().split('\n').at(-1)) : `${library} is missing on this system`
  fail(`the Node that npm brought does not start: ${reason}`)
}

function fail(reason) {
  console.error(`Node >= ${FLOOR.join('.')} is needed; ${reason}`)
  process.exit(1)
}
