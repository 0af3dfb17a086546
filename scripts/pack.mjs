// Builds a package's tarball as publishing would.
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PNPM } from './pnpm.mjs'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Packs `packages/NAME` into a folder and unpacks it beside; answers where both are. */
export function pack(name, work) {
  const tarball = join(work, `${name}.tgz`)
  const unpacked = join(work, 'node_modules', '@trpc-login', name)
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-b', `packages/${name}`], { cwd: root, stdio: 'inherit' })
  const { status, stderr } = spawnSync('npx', ['-y', `pnpm@${PNPM}`, 'pack', '--out', tarball], {
    cwd: join(root, 'packages', name),
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`packing ${name} failed: ${stderr}`)
  mkdirSync(unpacked, { recursive: true })
  execFileSync('tar', ['-xzf', tarball, '--strip-components=1', '-C', unpacked])
  return { tarball, unpacked }
}
