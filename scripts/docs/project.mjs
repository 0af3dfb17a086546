// Where the pages take their facts from: the packages by their published names, and the sources of the server.
import { globSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))))

// The tests depend on all that the pages are made from.
const require = createRequire(join(root, 'packages/tests/package.json'))

export const load = (name) => import(require.resolve(name))

const sources = globSync('packages/server/src/**/*.ts', { cwd: root }).map((path) => join(root, path))

/** The one source file that exports a name, wherever it stands; rows of tables are named like what callers see. */
export function sourceOf(name) {
  const declaration = new RegExp(`^export (const|function|interface) ${name}\\b`, 'm')
  const found = sources.filter((path) => declaration.test(readFileSync(path, 'utf8')))
  const outside = found.length > 1 ? found.filter((path) => !path.includes('/src/storage/')) : found
  if (outside.length !== 1) throw new Error(`${found.length} files of the server export ${name}; scripts/docs expects one`)
  return outside[0]
}

/** An exported interface as callers see it, without what only TypeScript cares about. */
export function interfaceText(name) {
  const [head, ...fields] = interfaceLines(name)
  const omitted = /extends Omit<(\w+), '(\w+)'>/.exec(head)
  const inherited = omitted === null ? [] : interfaceLines(omitted[1]).slice(1, -1)
  const kept = inherited.filter((line) => !line.trim().startsWith(`${omitted[2]}:`))
  return [head.replace(/ extends Omit<.*>/, ''), ...kept, ...fields].join('\n')
}

function interfaceLines(name) {
  const source = readFileSync(sourceOf(name), 'utf8')
  const found = new RegExp(`^export (interface ${name}\\b.*\\{\\n[\\s\\S]*?^\\})`, 'm').exec(source)
  if (found === null) throw new Error(`no interface ${name} in the server's sources`)
  return found[1]
    .replaceAll('readonly ', '')
    .replaceAll(/Readonly<(.*)>/g, '$1')
    .replace(/<TAttributes\b.*> \{/, ' {')
    .replaceAll('TAttributes', 'Record<string, unknown>')
    .split('\n')
}

/** Names that stand in one list only. A page must neither miss what the code has nor keep what it lost. */
export function requireSame(what, inCode, inPage, where) {
  const missing = inCode.filter((name) => !inPage.includes(name))
  const gone = inPage.filter((name) => !inCode.includes(name))
  if (missing.length > 0) throw new Error(`${where} lacks these ${what} of the code: ${missing.join(', ')}`)
  if (gone.length > 0) throw new Error(`${where} has ${what} that the code has not: ${gone.join(', ')}`)
}
