import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from '../support/process.ts'

const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')
const dependenciesOf = (name: string) =>
  Object.keys((JSON.parse(read(`packages/${name}/package.json`)) as { dependencies: Record<string, string> }).dependencies)
const LOCKFILE = read('pnpm-lock.yaml')

// What each version mended: security advisories that a session library must not ship with.
const FLOORS = {
  '@trpc/server': ['11.15.0'],
  cookie: ['0.7.2'],
  undici: ['6.26.0', '7.28.0', '8.5.0'],
  superjson: ['2.0.0'],
}

test('SC-1: each package has at most ten dependencies, and docs/security.md says what each is for', () => {
  for (const name of ['server', 'client']) {
    const names = dependenciesOf(name)
    expect(names.length).toBeLessThanOrEqual(10)
    for (const dependency of names) expect(read('docs/security.md')).toContain(`| \`${dependency}\` `)
  }
})

test('SC-1: no dependency may run a script when it is installed, and what is installed is what the lockfile says', () => {
  const builds = /^allowBuilds:\n((?:[ #].*\n)*)/m.exec(read('pnpm-workspace.yaml'))?.[1] ?? ''
  const allowed = [...builds.matchAll(/^ {2}(\S.*): (.+)$/gm)].filter(([, , value]) => value !== 'false')
  expect(allowed.map(([, name]) => name)).toEqual([])
  expect(read('scripts/install.mjs')).toContain("'--frozen-lockfile'")
  expect(LOCKFILE).not.toMatch(/resolution: \{(?!integrity: sha512-)/)
})

test.each(Object.entries(FLOORS))('SC-2: %s is at or above the versions that mended known holes: %s', (name, floors) => {
  const versions = [...LOCKFILE.matchAll(/^ {2}'?([^\s']+)@(\d+\.\d+\.\d+)'?:$/gm)].filter(([, found]) => found === name)
  expect(versions.length).toBeGreaterThan(0)
  for (const [, , version = ''] of versions) {
    const floor = floors.find((each) => each.split('.')[0] === version.split('.')[0]) ?? floors.at(-1) ?? ''
    expect(compare(version, floor), `${name} ${version}, needed ${floor}`).toBeGreaterThanOrEqual(0)
  }
})

function compare(one: string, other: string): number {
  const [a, b] = [one, other].map((text) => text.split('.').map(Number)) as [number[], number[]]
  return a.map((part, index) => part - (b[index] ?? 0)).find((gap) => gap !== 0) ?? 0
}
