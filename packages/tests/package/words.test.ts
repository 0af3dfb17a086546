import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT } from '../support/process.ts'

const { textsOf, wordProblems } = (await import(join(ROOT, 'scripts/words.mjs'))) as {
  textsOf(source: string): string
  wordProblems(text: string): { line: number; problem: string }[]
}
const problemsOf = (source: string) => wordProblems(textsOf(source))

test.each([
  ["throw new AuthError('invalid_input', { message: `The URL may have ${MAX} characters` })", '"may have …" reads as a permission'],
  ["const text = 'A name may have 64 characters'", '"may have 6" reads as a permission'],
  ["option('--role <role>', 'roles beside admin')", '"beside"'],
])('a limit or a text that reads wrongly is found: %s', (source, problem) => {
  expect(problemsOf(`\n${source}\n`)).toEqual([{ line: 2, problem: expect.stringContaining(problem) as unknown }])
})

test.each([
  'const message = `The URL is too long (at most ${MAX} characters)`',
  "// The engine's own text may have 3 lines\nconst beside = 'beside'",
])('what says "at most" passes, and so do comments and names: %s', (source) => {
  expect(problemsOf(source)).toEqual([])
})
