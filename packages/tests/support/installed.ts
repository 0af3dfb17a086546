import { cpSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { ROOT } from './process.ts'

export const { pack } = (await import(join(ROOT, 'scripts/pack.mjs'))) as {
  pack(name: string, work: string): { tarball: string; unpacked: string }
}

/** A directory outside the workspace that holds an application, and what it would have after installing the two tarballs. */
export function installTarballs() {
  const dir = realpathSync(mkdtempSync(join(tmpdir(), 'trpc-login-user-')))
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ type: 'module' }))
  cpSync(join(ROOT, 'packages/tests/package/user'), dir, { recursive: true })

  function link(name: string, target: string): void {
    const path = join(dir, 'node_modules', name)
    mkdirSync(dirname(path), { recursive: true })
    rmSync(path, { recursive: true, force: true })
    symlinkSync(realpathSync(target), path)
  }

  for (const name of ['server', 'client']) {
    const { unpacked } = pack(name, dir)
    const manifest = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8')) as Record<string, Record<string, string>>
    const optional = Object.keys(manifest['peerDependenciesMeta'] ?? {})
    for (const dependency of Object.keys({ ...manifest['dependencies'], ...manifest['peerDependencies'] }))
      if (!optional.includes(dependency)) link(dependency, join(ROOT, 'packages', name, 'node_modules', dependency))
  }
  link('@types/node', join(ROOT, 'packages/tests/node_modules/@types/node'))
  return { dir, link, remove: () => rmSync(dir, { recursive: true, force: true }) }
}
