// docs/requirements.md: what is required, where that comes from, and the test files that hold it.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './project.mjs'
import { REQUIREMENTS } from './requirement-list.mjs'

// Whatever looks like an id at the beginning of a name is taken for one, so that none goes without its line.
const ID = String.raw`(?:[A-Z]{2}-\d+|[A-Z]\d*\.\d+)`
const NAME = new RegExp(String.raw`['"\x60](${ID}(?: ${ID})*)(?=: | )`, 'g')

/** The files whose tests carry an id in their names, for each id. */
export function testedIds(folder = join(root, 'packages/tests')) {
  const tested = new Map()
  for (const file of globSync('**/*.ts', { cwd: folder, exclude: ['**/node_modules/**', 'dist/**'] }).toSorted()) {
    const names = readFileSync(join(folder, file), 'utf8').matchAll(NAME)
    for (const id of [...names].flatMap(([, ids]) => ids.split(' '))) tested.set(id, (tested.get(id) ?? new Set()).add(file))
  }
  return tested
}

/** What is wrong between the list and the names of tests, each one sentence. */
export function requirementProblems(tested, list = Object.values(REQUIREMENTS).flat()) {
  const known = list.map(([id]) => id)
  const unknown = [...tested.keys()].filter((id) => !known.includes(id))
  const untested = list.filter(([id, priority]) => priority === 'P0' && !tested.has(id))
  return [
    ...unknown.map(
      (id) => `${id} stands in a test's name (${[...tested.get(id)].join(', ')}) and not in scripts/docs/requirement-list.mjs`,
    ),
    ...untested.map(([id]) => `${id} has no test that names it`),
  ]
}

const INTRO = `# Requirements

Tests name the requirement that they hold: \`RL-3: of 50 wrong guesses at once, no more than six are evaluated\`. This page says what each id asks for, where
that comes from, and which files of \`packages/tests\` hold it. \`npm test -- -t 'RL-3'\` runs the tests of one.

P0 is what no release goes without, and each has a test. P1 is expected of a first production version. ASVS is OWASP ASVS 5.0, NIST is SP 800-63B-4, OWASP
names a cheat sheet.`

export function requirementsPage() {
  const tested = testedIds()
  const problems = requirementProblems(tested)
  if (problems.length > 0) throw new Error(problems.join('\n'))
  const sections = Object.entries(REQUIREMENTS).map(([title, list]) => `## ${title}\n\n${list.map(line).join('\n')}`)
  return [INTRO, ...sections, ''].join('\n\n')

  function line([id, priority, sentence, source]) {
    const files = [...(tested.get(id) ?? [])].map((file) => `\`${file.replace(/(\.test)?\.ts$/, '')}\``)
    return `- **${id}** (${priority}) ${sentence}\n  Source: ${source}. Tests: ${files.join(', ') || 'none yet'}.`
  }
}
