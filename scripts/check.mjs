// Everything but the tests: format, lint, types, layers, words, unused code, packages. All steps run; any failure fails the whole.
import { spawnSync } from 'node:child_process'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const STEPS = [
  ['format', 'node_modules/@biomejs/biome/bin/biome', 'check', '.'],
  ['lint', 'node_modules/oxlint/bin/oxlint', '--type-aware', '--deny-warnings'],
  ['types', 'node_modules/typescript/bin/tsc', '-b'],
  ['layers and cycles', 'scripts/layers.mjs'],
  ['words', 'scripts/words.mjs'],
  ['unused code', 'node_modules/knip/bin/knip.js'],
  ['packages', 'scripts/check-packages.mjs'],
]

const failed = []
for (const [name, program, ...args] of STEPS) {
  const began = Date.now()
  const { status } = spawnSync(process.execPath, [program, ...args], { cwd: root, stdio: 'inherit' })
  console.log(`${status === 0 ? 'ok  ' : 'FAIL'} ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`)
  if (status !== 0) failed.push(name)
}
if (failed.length > 0) console.log(`failed: ${failed.join(', ')}`)
process.exitCode = failed.length === 0 ? 0 : 1
