// The tables of docs/configuration.md that list the options, from their docstrings.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { interfaceText, root, sourceOf } from './project.mjs'

const PAGE = 'docs/configuration.md'
const [BEGIN, END] = ['<!-- written by npm run docs -->', '<!-- until here -->']

/** The page with its tables as the code has them. */
export async function configurationPage() {
  const { VARIABLES } = await import(sourceOf('VARIABLES'))
  const text = readFileSync(join(root, PAGE), 'utf8')
  const [before, rest] = text.split(BEGIN)
  const after = rest?.split(END)[1]
  if (after === undefined) throw new Error(`${PAGE} has lost the lines ${BEGIN} and ${END}`)
  const tables = [
    '### `createAuth`',
    table(optionsOf('AuthOptions'), (path) => variableOf(path, VARIABLES)),
    '### `createServer`',
    table(
      optionsOf('ServerOptions').filter(({ path }) => !['auth', 'router'].includes(path)),
      (path) => variableOf(path, VARIABLES),
    ),
  ]
  return [before.trimEnd(), BEGIN, ...tables, END, after.trimStart()].join('\n\n')
}

/** Every option of an interface by its path, with its docstring. */
export function optionsOf(name) {
  const options = []
  let group = ''
  let comment = ''
  for (const line of interfaceText(name).split('\n').slice(1)) {
    const [, indent = '', field, type = ''] = /^( +)(\w+)\??: ?(.*)$/.exec(line) ?? []
    if (/^ *(\/\*\*|\*)/.test(line)) comment += ` ${line.replaceAll(/^ *\/?\*+\/?|\*\/$/g, '').trim()}`
    else if (line === '  }') group = ''
    else if (field !== undefined && indent.length === (group === '' ? 2 : 4)) {
      if (type === '{') group = `${field}.`
      else options.push({ path: `${group}${field}`, ...readDocstring(comment) })
      comment = ''
    }
  }
  return options
}

function readDocstring(comment) {
  const [meaning, fallback = 'none'] = comment.split('@default').map((text) => text.trim())
  return { meaning, fallback: fallback.replace(/^'(.*)'$/, '`$1`') }
}

/** The variable of the environment that gives an option, where there is one. */
function variableOf(path, variables) {
  const name = path
    .replaceAll('.', '_')
    .replaceAll(/[A-Z]/g, (letter) => `_${letter}`)
    .toUpperCase()
  return name in variables ? `\`TRPC_LOGIN_${name}\`` : ''
}

function table(options, variable) {
  const rows = options.map(({ path, meaning, fallback }) => `| \`${path}\` | ${fallback} | ${meaning} | ${variable(path)} |`)
  return ['| option | default | meaning | environment |', '| --- | --- | --- | --- |', ...rows].join('\n')
}
