import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, temporaryDirectory } from '../support/process.ts'

// The script is JavaScript without types, because it runs where nothing is built.
const { findViolations } = (await import(join(ROOT, 'scripts/layers.mjs'))) as { findViolations(base?: string): string[] }

test('imports go downward, and none in a circle', () => {
  expect(findViolations()).toEqual([])
})

test.each([
  ['cookies.ts', "import './sessions.ts'\n", 'imports go downward'],
  ['sessions.ts', "import { initTRPC } from '@trpc/server'\n", 'the domain knows neither tRPC nor HTTP'],
  ['storage/sqlite.ts', "import { createSessions } from '../sessions.ts'\n", 'adapters see their port'],
  ['tokens.ts', "import type { a } from './cookies.ts'\n", 'cycle'],
  ['router.ts', "import { createAuth } from './index.ts'\n", 'its own index'],
  ['stray.ts', 'export {}\n', 'has no layer'],
])('a wrong import in %s is found', (file, text, finding) => {
  const copy = temporaryDirectory()
  for (const name of ['server', 'client'])
    cpSync(join(ROOT, 'packages', name, 'src'), join(copy, 'packages', name, 'src'), { recursive: true })
  if (file === 'tokens.ts') writeFileSync(join(copy, 'packages/server/src/cookies.ts'), "import type { b } from './tokens.ts'\n")
  writeFileSync(join(copy, 'packages/server/src', file), text)
  expect(findViolations(copy).join('\n')).toContain(finding)
})
