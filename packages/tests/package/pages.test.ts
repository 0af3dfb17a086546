import { globSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { AuthMeta } from '@trpc-login/server'
import { createTestAuth } from '@trpc-login/server/testing'
import { expect, test } from 'vitest'
import { ROOT, start, temporaryDirectory } from '../support/process.ts'

const { requireSame } = (await import(join(ROOT, 'scripts/docs/project.mjs'))) as {
  requireSame(what: string, inCode: string[], inPage: string[], where: string): void
}
const { testedIds, requirementProblems } = (await import(join(ROOT, 'scripts/docs/requirements.mjs'))) as {
  testedIds(folder?: string): Map<string, Set<string>>
  requirementProblems(tested: Map<string, Set<string>>, list: string[][]): string[]
}

const PAGES = [...globSync('*.md', { cwd: ROOT }), ...globSync('docs/*.md', { cwd: ROOT })]

test('the generated pages are what the code makes of them', async () => {
  const { stdout, stderr, code } = await start(join(ROOT, 'scripts/docs.mjs'), ['--check'], { cwd: ROOT }).ended
  expect([stderr, stdout, code]).toEqual(['', '', 0])
})

test('a name of the code without a sentence is refused, and so is a sentence whose name is gone', () => {
  expect(() => requireSame('reasons', ['a', 'b'], ['a'], 'the page')).toThrow('the page lacks these reasons of the code: b')
  expect(() => requireSame('reasons', ['a'], ['a', 'c'], 'the page')).toThrow('the page has reasons that the code has not: c')
})

test('an id in a test’s name that the requirements do not hold is refused, and so is a P0 without a test', () => {
  const folder = temporaryDirectory()
  const name = ['XX-1', 'XX-2', 'says something'].join(' ')
  writeFileSync(join(folder, 'a.test.ts'), `test('${name}', () => {})\n// XX-3: a comment\n`)
  const tested = testedIds(folder)
  expect([...tested.keys()]).toEqual(['XX-1', 'XX-2'])
  const problems = requirementProblems(tested, [
    ['XX-1', 'P0'],
    ['XX-3', 'P0'],
    ['XX-4', 'P1'],
  ])
  expect(problems).toEqual([
    expect.stringMatching(/^XX-2 stands in .*\(a\.test\.ts\)/),
    expect.stringMatching(/^XX-3 has no test that names it$/),
  ])
})

test('the page about other clients names exactly the procedures that travel alone', async () => {
  await using auth = createTestAuth()
  const procedures = Object.entries(auth.router._def.procedures as unknown as Record<string, { _def: { meta: AuthMeta } }>)
  const alone = procedures.filter(([, { _def }]) => _def.meta.alone === true).map(([path]) => path)
  const pattern = new RegExp(/^ {2}\/(\^auth.*)\/$/m.exec(read('docs/client.md'))?.[1] ?? '')
  expect(procedures.map(([path]) => path).filter((path) => pattern.test(`auth.${path}`))).toEqual(alone)
})

test.each(PAGES)('every link of %s inside the project leads to a file, and to a heading where it names one', (page) => {
  const links = [...read(page).matchAll(/\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)/g)]
  for (const [, path, anchor] of links) {
    const target = path === '' || path === undefined ? page : join(dirname(page), path)
    if (anchor !== undefined) expect(anchorsOf(read(target)), `${target}#${anchor}`).toContain(anchor)
    else expect(globSync(target, { cwd: ROOT }), `${page} links to ${target}`).toHaveLength(1)
  }
})

test('every changeset begins with the packages that it is about', () => {
  for (const path of globSync('.changeset/*.md', { cwd: ROOT }))
    expect(read(path), path).toMatch(/^---\n('@trpc-login\/(server|client)': (major|minor|patch)\n)*---\n\n\S/)
})

function read(page: string): string {
  return readFileSync(join(ROOT, page), 'utf8')
}

/** The ids that GitHub gives to headings. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    (title ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}_ -]/gu, '')
      .replaceAll(' ', '-'),
  )
}
