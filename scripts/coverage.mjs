// Runs the suite once more and says which lines of the packages ran, in the tests' own processes and in all that they start.
// With arguments, such as a test file, it prints the figures of those alone and judges nothing.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CoverageReport } from 'monocart-coverage-reports'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
// Percent of lines of each package. It only rises: where a run says that it can, raise it.
const FLOOR = { server: 98.5, client: 98 }
const EXCLUDED = [
  // Run in browsers alone, which write no figures: client/browser.test.ts and client/tabs.test.ts drive them in Chromium.
  /\/(platform-browser|shared-source)\.ts$/,
]
// Of the files that miss most lines.
const LISTED = 15

/** Runs tests; each of their processes writes what it ran when it ends (NODE_V8_COVERAGE of Node). */
function runTests(dir, tests) {
  const env = { ...process.env, NODE_V8_COVERAGE: dir }
  const vitest = [join(root, 'node_modules/vitest/vitest.mjs'), 'run', '--reporter=dot', '--reporter=./scripts/count-reporter.mjs']
  const { status } = spawnSync(process.execPath, ['--conditions=@trpc-login/source', ...vitest, ...tests], {
    cwd: root,
    env,
    stdio: 'inherit',
  })
  return status === 0
}

/** Each source file with its lines of code, and those of which nothing ran. */
async function readLines(dir) {
  // Stripping types is called experimental, and a word about it would stand in the report.
  process.removeAllListeners('warning')
  const reporter = new CoverageReport({
    logging: 'error',
    reports: ['none'],
    outputDir: join(dir, 'report'),
    entryFilter: ({ url }) => isSource(fileURLToPath(url)),
    all: { dir: ['packages/server/src', 'packages/client/src'], filter: isSource, transformer: withoutTypes },
    onEntry: withoutTypes,
  })
  await reporter.addFromDir(dir)
  const { files } = await reporter.generate()
  return files.map(({ url, summary, data }) => {
    const missed = Object.keys(data.lines).filter((line) => data.lines[line] === 0)
    return { path: relative(root, fileURLToPath(url)), total: summary.lines.total, missed: missed.map(Number) }
  })
}

/** The text that ran: types are blanks in it, on the same lines, and no lines of code. */
async function withoutTypes(entry) {
  entry.source = stripTypeScriptTypes(readFileSync(fileURLToPath(entry.url), 'utf8'))
}

function isSource(path) {
  const inside = relative(root, path)
  return /^packages\/(server|client)\/src\/.*\.ts$/.test(inside) && !EXCLUDED.some((excluded) => excluded.test(inside))
}

/** Prints the figures; the answer is whether each package is at its floor. */
function report(files) {
  const least = files.filter(({ missed }) => missed.length > 0).toSorted((a, b) => b.missed.length - a.missed.length)
  for (const { path, total, missed } of least.slice(0, LISTED))
    console.log(`${percent(total - missed.length, total)}  ${path}  ${ranges(missed)}`)
  return Object.entries(FLOOR).map(([name, floor]) => {
    const own = files.filter(({ path }) => path.startsWith(`packages/${name}/`))
    const total = own.reduce((sum, file) => sum + file.total, 0)
    const covered = total - own.reduce((sum, { missed }) => sum + missed.length, 0)
    console.log(`${percent(covered, total)}  packages/${name}: ${covered} of ${total} lines, at least ${floor} % wanted`)
    if (covered >= total * ((floor + 1) / 100)) console.log(`raise the floor of ${name} in scripts/coverage.mjs`)
    return covered >= total * (floor / 100)
  })
}

function percent(part, whole) {
  return `${((100 * part) / Math.max(whole, 1)).toFixed(1).padStart(5)} %`
}

/** Numbers in their order, those that follow each other as one. */
function ranges(numbers) {
  const rows = []
  for (const number of numbers) {
    const last = rows.at(-1)
    if (last?.[1] === number - 1) last[1] = number
    else rows.push([number, number])
  }
  return rows.map(([from, to]) => (from === to ? from : `${from}-${to}`)).join(' ')
}

const tests = process.argv.slice(2)
const dir = mkdtempSync(join(tmpdir(), 'coverage-'))
try {
  const passed = runTests(dir, tests)
  const reached = report(await readLines(dir))
  process.exitCode = passed && (tests.length > 0 || reached.every(Boolean)) ? 0 : 1
} finally {
  rmSync(dir, { recursive: true, force: true })
}
