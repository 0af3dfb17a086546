// Packs both packages as they would be published and looks at what a user would get.
import { spawnSync } from 'node:child_process'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pack, root } from './pack.mjs'

const ALLOWED = /^(dist|src)\/|^(package\.json|README\.md|LICENSE)$/
const work = mkdtempSync(join(tmpdir(), 'packages-'))
let ok = true

try {
  for (const name of ['server', 'client']) {
    const { tarball, unpacked } = pack(name, work)
    const manifest = JSON.parse(readFileSync(join(unpacked, 'package.json'), 'utf8'))
    const files = globSync('**/*', { cwd: unpacked, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(unpacked.length + 1))
    for (const file of files.filter((path) => !ALLOWED.test(path))) fail(name, `the tarball holds ${file}`)
    for (const target of targetsOf([manifest.exports, manifest.imports, manifest.bin])) {
      if (!existsSync(join(unpacked, target))) fail(name, `package.json names ${target}, which the tarball lacks`)
    }
    if (/workspace:|catalog:/.test(JSON.stringify(manifest))) fail(name, 'the published manifest names the workspace')
    run(name, 'publint', ['node_modules/publint/src/cli.js', tarball])
    run(name, 'attw', ['node_modules/@arethetypeswrong/cli/dist/index.js', tarball, '--profile', 'esm-only', '--format', 'ascii'])
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
process.exitCode = ok ? 0 : 1

function targetsOf(value) {
  if (typeof value === 'string') return value.startsWith('./') ? [value] : []
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(targetsOf) : []
}

function run(name, tool, args) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8' })
  if (status !== 0) fail(name, `${tool}:\n${stdout}${stderr}`)
}

function fail(name, message) {
  ok = false
  console.log(`packages/${name}: ${message}`)
}
