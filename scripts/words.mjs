// Words that public text may not hold: error messages, texts of the command and pages. Each with its reason and what to say instead.
import { globSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
// TypeScript 7 has no API for JavaScript yet.
const ts = createRequire(join(root, 'packages/tests/package.json'))('typescript-5.9')

const REFUSED = [
  [/\bmay (have|hold|carry|be nested) (\d|…)/i, 'reads as a permission: say "at most N"'],
  [/\bwhom\b/i, 'is hard going: say "who", or name the person'],
  [/\bbeside\b(?! the)/i, 'says where a thing stands: say "besides", "with" or "in addition to"'],
  [/\banew\b/i, 'is old: say "again"'],
  [/\bmeanwhile\b/i, 'says no time: say "in the meantime", or what came first'],
  [/\bwhatever\b/i, 'says nothing: name what is meant'],
  [/\banswers (who|what|whether|how|where)\b/i, 'means a reply to a question: a function "returns"'],
  [/\bsign(ed|ing|s)?[- ]in with others\b/i, 'names nobody: say "sign in with a provider"'],
]

const EXEMPT = [
  // A list of passwords.
  /\/common(-passwords)?\.ts$/,
  // The names of migrations stand in databases.
  /\/storage\/(schema\.ts|migrations\/)/,
]

/** What is wrong with a text, each with its line. */
export function wordProblems(text) {
  return text.split('\n').flatMap((line, index) =>
    REFUSED.flatMap(([pattern, why]) => {
      const found = pattern.exec(line)
      return found === null ? [] : [{ line: index + 1, problem: `"${found[0]}" ${why}` }]
    }),
  )
}

/** The texts of a source file on their own lines, and nothing else of it; what is put into a text is a "…". */
export function textsOf(source) {
  const lines = source.split('\n').map(() => '')
  const file = ts.createSourceFile('source.ts', source, ts.ScriptTarget.Latest)
  const add = (node, text) => {
    if (!text.includes(' ')) return
    lines[file.getLineAndCharacterOfPosition(node.getStart(file)).line] += `${text.replaceAll('\n', ' ')}. `
  }
  const visit = (node) => {
    if (ts.isStringLiteralLike(node)) add(node, node.text)
    if (ts.isTemplateExpression(node))
      add(node, [node.head, ...node.templateSpans.map(({ literal }) => literal)].map(({ text }) => text).join('…'))
    ts.forEachChild(node, visit)
  }
  visit(file)
  return lines.join('\n')
}

/** A page without its blocks and names of code. */
function proseOf(page) {
  return page.replaceAll(/^```[\s\S]*?^```|`[^`\n]*`|<!--[\s\S]*?-->/gm, (code) => code.replaceAll(/[^\n]/g, '') || '`')
}

function problemsOf(pattern, textOf) {
  const paths = globSync(pattern, { cwd: root }).filter((path) => !EXEMPT.some((exempt) => exempt.test(path)))
  return paths.flatMap((path) =>
    wordProblems(textOf(readFileSync(join(root, path), 'utf8'))).map(({ line, problem }) => `${path}:${line}: ${problem}`),
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const problems = [
    ...problemsOf('packages/{server,client}/src/**/*.ts', textsOf),
    ...problemsOf('{*,docs/*,packages/*/README}.md', proseOf),
  ]
  for (const problem of problems) console.log(problem)
  process.exitCode = problems.length === 0 ? 0 : 1
}
