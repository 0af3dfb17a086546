import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { installTypes, type Layout, type Source } from '../support/layouts.ts'
import { ROOT, run } from '../support/process.ts'

const { pack } = (await import(join(ROOT, 'scripts/pack.mjs'))) as { pack(name: string, work: string): { unpacked: string } }

const TESTS = join(ROOT, 'packages/tests')
// A compiler takes seconds, and on a busy machine many.
const PATIENCE_MS = 120_000
const FLAGS = [
  '--declaration --emitDeclarationOnly --strict --exactOptionalPropertyTypes --rewriteRelativeImportExtensions --skipLibCheck',
  '--module nodenext --target es2024 --lib esnext,dom --types node',
].flatMap((flags) => flags.split(' '))
let work = ''
const unpacked: Record<string, string> = {}

beforeAll(() => {
  work = realpathSync(mkdtempSync(join(tmpdir(), 'trpc-login-types-')))
  for (const name of ['server', 'client']) unpacked[name] = pack(name, work).unpacked
}, 60_000)
afterAll(() => rmSync(work, { recursive: true, force: true }))

function bought(name: string, from = name): Source {
  const dir = realpathSync(join(TESTS, 'node_modules', from))
  return { name, dir, dependencies: join(dir, name.includes('/') ? '../..' : '..') }
}

function ours(name: string): Source {
  return { name: `@trpc-login/${name}`, dir: unpacked[name] ?? '', dependencies: join(ROOT, 'packages', name, 'node_modules') }
}

/** An application with one version of zod, in a folder of its own. */
function install(layout: Layout, zod: string): string {
  const app = join(work, `${layout}-${zod}`)
  mkdirSync(app)
  cpSync(join(TESTS, 'package/exported'), app, { recursive: true })
  const others = ['@trpc/server', '@trpc/client', 'valibot', '@types/node'].map((name) => bought(name))
  const direct = [bought('zod', zod), ...others, ours('server'), ours('client')]
  const dependencies = Object.fromEntries(direct.map(({ name }) => [name, '*']))
  writeFileSync(join(app, 'package.json'), JSON.stringify({ type: 'module', dependencies }))
  installTypes(app, layout, direct)
  return app
}

describe.each<[Layout, string]>([
  ['hoisted', 'zod'],
  ['hoisted', 'zod-4.4'],
  ['isolated', 'zod'],
  ['isolated', 'zod-4.4'],
])('an application with %s packages and %s of its own', (layout, zod) => {
  let app = ''
  beforeAll(() => {
    app = install(layout, zod)
  })

  test.each(['typescript', 'typescript-5.9'])(
    'exports its router, guards and clients with declarations, by %s',
    async (compiler) => {
      const tsc = join(TESTS, 'node_modules', compiler, 'bin/tsc')
      const { code, stdout } = await run(process.execPath, [tsc, ...FLAGS, '--outDir', compiler, 'server.ts', 'client.ts'], { cwd: app })
        .ended
      expect([stdout, code]).toEqual(['', 0])
      const emitted = readFileSync(join(app, compiler, 'server.d.ts'), 'utf8')
      const named = [...emitted.matchAll(/import\("([^"]*)"\)/g)].map(([, name = '']) => name)
      expect(named.filter((name) => !/^@trpc(?:-login)?\/server(?:\/\w+)?$/.test(name))).toEqual([])
    },
    PATIENCE_MS,
  )
})

/** Every declaration file that the entries of a package lead to. */
function reached(dist: string, entries: readonly string[]): Map<string, string> {
  const found = new Map<string, string>()
  const visit = (file: string) => {
    if (found.has(file)) return
    const text = readFileSync(file, 'utf8')
    found.set(file, text)
    for (const [, specifier = ''] of text.matchAll(/(?:from|import\()\s*["'](\.[^"']+)["']/g))
      visit(join(dirname(file), specifier).replace(/\.[jt]s$/, '.d.ts'))
  }
  for (const entry of entries) visit(join(dist, entry))
  return found
}

test('no emitted type that an application can reach names zod', () => {
  const manifest = JSON.parse(readFileSync(join(unpacked['server'] ?? '', 'package.json'), 'utf8')) as {
    exports: Record<string, { types?: string }>
  }
  const entries = Object.values(manifest.exports).flatMap(({ types }) => types ?? [])
  expect(entries.length).toBeGreaterThanOrEqual(4)
  const files = reached(unpacked['server'] ?? '', entries)
  expect(files.size).toBeGreaterThan(30)
  expect([...files].filter(([file, text]) => existsSync(file) && /["']zod/.test(text)).map(([file]) => file)).toEqual([])
})
