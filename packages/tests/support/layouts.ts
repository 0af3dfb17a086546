import { cpSync, existsSync, mkdirSync, readFileSync, realpathSync, statSync, symlinkSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** How an installer lays packages out: npm all in one folder, pnpm each with its own dependencies and nothing else beside it. */
export type Layout = 'hoisted' | 'isolated'

/** A package to install: where it lies, and where its dependencies are looked for. */
export interface Source {
  readonly name: string
  readonly dir: string
  readonly dependencies: string
}

interface Manifest {
  version: string
  dependencies?: Record<string, string>
  peerDependencies?: Record<string, string>
}

// A peer of many packages, whose types none of them names.
const UNREAD = 'typescript'

/** Installs what a compiler reads of packages, and of all that they depend on, as copies that know nothing of this workspace. */
export function installTypes(app: string, layout: Layout, direct: readonly Source[]): void {
  const top = join(app, 'node_modules')
  for (const source of direct) link(join(top, source.name), place(source, top))

  /** Answers where the package is now; `parent` is the folder in which the one that asks for it looks last. */
  function place(source: Source, parent: string): string {
    const { name, dir } = source
    const manifest = manifestOf(dir)
    const folder =
      layout === 'isolated'
        ? join(top, '.pnpm', `${name.replace('/', '+')}@${manifest.version}/node_modules`)
        : placeFor(name, manifest, parent)
    const target = join(folder, name)
    if (existsSync(target)) return target
    cpSync(dir, target, { recursive: true, dereference: true, filter: (from) => isRead(relative(dir, from), from) })
    for (const dependency of dependenciesOf(manifest, source.dependencies)) {
      const placed = place(dependency, join(target, 'node_modules'))
      if (layout === 'isolated') link(join(folder, dependency.name), placed)
    }
    return target
  }

  /** At the top, as npm does, unless another version is there. */
  function placeFor(name: string, { version }: Manifest, parent: string): string {
    return !existsSync(join(top, name)) || manifestOf(join(top, name)).version === version ? top : parent
  }
}

function manifestOf(dir: string): Manifest {
  return JSON.parse(readFileSync(join(dir, 'package.json'), 'utf8')) as Manifest
}

function dependenciesOf({ dependencies, peerDependencies }: Manifest, folder: string): Source[] {
  const names = Object.keys({ ...dependencies, ...peerDependencies }).filter((name) => name !== UNREAD && existsSync(join(folder, name)))
  return names.map((name) => {
    const dir = realpathSync(join(folder, name))
    return { name, dir, dependencies: dir.slice(0, -name.length) }
  })
}

function isRead(path: string, from: string): boolean {
  return !path.startsWith('node_modules') && (statSync(from).isDirectory() || /\.d\.[cm]?ts$|(?:^|\/)package\.json$/.test(path))
}

function link(path: string, target: string): void {
  if (path === target || existsSync(path)) return
  mkdirSync(dirname(path), { recursive: true })
  symlinkSync(target, path)
}
