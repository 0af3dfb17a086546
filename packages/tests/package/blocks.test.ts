import { globSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { expect, test } from 'vitest'
import { ROOT, run, temporaryDirectory } from '../support/process.ts'
import { blocksOf } from '../support/readme.ts'

// A comment before a block holds what its reader has already, such as `<!-- ts: import { auth } from '../server.ts' -->`: the
// server of the README.
const BLOCK = /(?:<!-- ts:(?<given>[\s\S]*?)-->\n+)?```(?<language>tsx?)\b.*\n(?<code>[\s\S]*?)^```/gm
const pages = globSync('docs/*.md', { cwd: ROOT }).toSorted()

/** Each block of a page as a file of its own, in which it stands on the same lines, so that errors name those of the page. */
function modulesOf(page: string) {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return [...text.matchAll(BLOCK)].map(({ groups = {}, index, 0: whole }, number) => {
    const { given = '', language, code = '' } = groups
    let module = text.replaceAll(/[^\n]/g, ' ')
    for (const piece of [given, code]) {
      const at = index + whole.indexOf(piece)
      module = module.slice(0, at) + piece + module.slice(at + piece.length)
    }
    return { name: `${basename(page, '.md')}.${number + 1}.${language}`, text: `${module}\nexport {}\n` }
  })
}

test('every block of TypeScript in docs/ compiles', async () => {
  const dir = temporaryDirectory()
  mkdirSync(join(dir, 'docs'))
  symlinkSync(join(ROOT, 'packages/tests/node_modules'), join(dir, 'node_modules'))
  const server = blocksOf('README.md').find(({ text }) => text.includes('createServer'))
  writeFileSync(join(dir, 'server.ts'), `${server?.text}\nexport { appRouter, auth }\n`)
  const modules = pages.flatMap(modulesOf)
  for (const { name, text } of modules) writeFileSync(join(dir, 'docs', name), text)
  const compilerOptions = {
    noEmit: true,
    composite: false,
    lib: ['es2024', 'dom', 'dom.iterable', 'esnext.disposable'],
    jsx: 'preserve',
    noUnusedLocals: false,
    noUnusedParameters: false,
  }
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}')
  writeFileSync(join(dir, 'tsconfig.json'), JSON.stringify({ extends: join(ROOT, 'tsconfig.base.json'), compilerOptions }))
  const tsc = join(ROOT, 'packages/tests/node_modules/typescript/bin/tsc')
  const { stdout, code } = await run(process.execPath, [tsc, '-p', dir, '--pretty', 'false'], { cwd: dir }).ended
  expect([stdout, code]).toEqual(['', 0])
  expect(modules.length).toBeGreaterThan(10)
}, 60_000)

test('every block of JSON in docs/ can be parsed, and every block of commands too', async () => {
  const blocks = pages.flatMap((page) => [...readFileSync(join(ROOT, page), 'utf8').matchAll(/^```(json|sh)\n([\s\S]*?)^```/gm)])
  const texts = (wanted: string) => blocks.filter(([, language]) => language === wanted).map(([, , text = '']) => text)
  expect([texts('json').length, texts('sh').length].every((count) => count > 0)).toBe(true)
  for (const text of texts('json')) expect(() => JSON.parse(text) as unknown, text).not.toThrow()
  const { stderr, code } = await run('sh', ['-n'], { cwd: ROOT, input: texts('sh').join('\n') }).ended
  expect([stderr, code]).toEqual(['', 0])
})

test('every block has a language of which something is known', () => {
  const fences = pages.flatMap((page) => [...readFileSync(join(ROOT, page), 'utf8').matchAll(/^```(.*)\n[\s\S]*?^```/gm)])
  expect(fences.map(([, language]) => language?.split(' ', 1)[0]).filter((language) => !/^(tsx?|json|sh)$/.test(language ?? ''))).toEqual(
    [],
  )
})
