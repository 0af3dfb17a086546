// Writes the pages of docs/ that follow from the code; with --check only says which of them are out of date.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { errorsPage } from './docs/errors.mjs'
import { configurationPage } from './docs/options.mjs'
import { proceduresPage } from './docs/procedures.mjs'
import { root } from './docs/project.mjs'
import { requirementsPage } from './docs/requirements.mjs'

const PAGES = {
  'docs/configuration.md': configurationPage,
  'docs/errors.md': errorsPage,
  'docs/procedures.md': proceduresPage,
  'docs/requirements.md': requirementsPage,
}

const check = process.argv.includes('--check')
for (const [path, make] of Object.entries(PAGES)) {
  const text = format(path, await make())
  const file = join(root, path)
  if (existsSync(file) && readFileSync(file, 'utf8') === text) continue
  if (check) {
    console.log(`${path} is out of date: run npm run docs`)
    process.exitCode = 1
  } else {
    writeFileSync(file, text)
    console.log(`wrote ${path}`)
  }
}

/** As `npm run format` would leave it, or the two would undo each other's work. */
function format(path, text) {
  const biome = join(root, 'node_modules/@biomejs/biome/bin/biome')
  const options = { cwd: root, input: text, encoding: 'utf8' }
  const { status, stdout, stderr } = spawnSync(process.execPath, [biome, 'format', `--stdin-file-path=${path}`], options)
  if (status !== 0) throw new Error(`cannot format ${path}: ${stderr}`)
  return stdout
}
