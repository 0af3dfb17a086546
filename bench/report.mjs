// Writes what was measured between the marks of docs/performance.md, and draws it.
import { readFileSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { join } from 'node:path'
import { drawBars } from './plot.mjs'

const MARKS = /(<!-- figures -->\n)[\s\S]*(<!-- end of figures -->)/
const NAMES = {
  raw: 'raw `node:https`, fixed JSON',
  stock: 'tRPC standalone, public query',
  'sqlite public': '**trpc-login, public query**',
  'sqlite protected': '**trpc-login, protected query, SQLite**',
  'sqlite me': 'trpc-login, `auth.me`, SQLite',
  'postgres public': '**trpc-login, public query** (PostgreSQL set up)',
  'postgres protected': '**trpc-login, protected query, PostgreSQL**',
  'postgres me': 'trpc-login, `auth.me`, PostgreSQL',
  'better-auth cache off': 'tRPC + Better Auth, SQLite',
  'better-auth cache on': 'tRPC + Better Auth, SQLite, cookie cache',
  passport: 'tRPC + express-session + passport, in memory',
  'iron-session': 'tRPC + iron-session, stateless',
  'flask-login': 'Flask-Login, gunicorn, SQLite',
  'flask-login x2': 'Flask-Login, gunicorn, SQLite, both cores',
}

export function writeReport({ root, calls, profile, logins, resolving, memory, connections, minutes }) {
  const path = join(root, 'docs/performance.md')
  const sections = [
    machine(minutes),
    '### Targets',
    targets({ calls, logins, resolving }),
    '### Calls',
    callTable(calls),
    '![Requests per second of each, as a share of tRPC standalone](performance.svg)',
    '### Where a protected call spends its time',
    profileTable(profile),
    '### Logins',
    loginTable(logins),
    '### Resolving a session',
    resolvingTable(resolving),
    '### The process',
    processTable(memory, connections),
  ]
  const text = readFileSync(path, 'utf8')
  if (!MARKS.test(text)) throw new Error(`${path} has lost its marks`)
  writeFileSync(
    path,
    text.replace(MARKS, (_all, start, end) => `${start}\n${sections.join('\n\n')}\n\n${end}`),
  )
  const stock = rateOf(calls, 'stock')
  const bars = calls.toSorted((a, b) => b.perSecond - a.perSecond)
  writeFileSync(
    join(root, 'docs/performance.svg'),
    drawBars(
      'Requests per second, tRPC standalone = 1',
      bars.map(({ title, perSecond }) => ({ name: plain(title), value: perSecond / stock, isOurs: /^(sqlite|postgres)/.test(title) })),
    ),
  )
}

const plain = (title) => NAMES[title].replaceAll(/[*`]/g, '')
const ms = (microseconds) => `${(microseconds / 1000).toFixed(1)} ms`
const rateOf = (calls, title) => calls.find((call) => call.title === title)?.perSecond
const ratio = (value) => (value === undefined || Number.isNaN(value) ? 'not measured' : value.toFixed(2))

function machine(minutes) {
  const [cpu] = cpus()
  const memory = Math.round(totalmem() / 2 ** 30)
  const date = new Date().toISOString().slice(0, 10)
  return `One run of ${minutes.toFixed(0)} minutes on ${date}: ${availableParallelism()} cores (${cpu?.model.trim()}), ${memory} GiB, Node ${process.versions.node}, ${process.platform}. Medians of interleaved rounds.`
}

function targets({ calls, logins, resolving }) {
  const ours = rateOf(calls, 'sqlite protected')
  const over = (title) => (rateOf(calls, title) === undefined ? undefined : ours / rateOf(calls, title))
  const [first, last] = [resolving[0], resolving.at(-1)]
  const rows = [
    ['protected / our public call, SQLite', over('sqlite public'), '>= 0.97'],
    ["protected / tRPC's standalone public call", over('stock'), '>= 2.0'],
    ['protected / Better Auth on SQLite', over('better-auth cache off'), '>= 10'],
    ['protected / Better Auth with its cookie cache', over('better-auth cache on'), '>= 6'],
    ['protected / Flask-Login, one process on one core each', over('flask-login'), '>= 6'],
    ['protected on one core / Flask-Login on both', over('flask-login x2'), '>= 6'],
    ['protected / raw https', over('raw'), '>= 0.20'],
    ['logins / bare argon2id', logins.logins / logins.hashes, '>= 0.95'],
    [`resolving one of ${last.size.toLocaleString('en')} / one of ${first.size.toLocaleString('en')}`, last.warm / first.warm, '<= 1.3'],
  ]
  return table(
    ['ratio of medians', 'measured', 'target', ''],
    rows.map(([name, value, target]) => [name, ratio(value), target, verdict(value, target)]),
  )
}

function verdict(value, target) {
  if (value === undefined) return ''
  const [sign, bound] = target.split(' ')
  return (sign === '>=' ? value >= Number(bound) : value <= Number(bound)) ? 'met' : 'missed'
}

function callTable(calls) {
  const stock = calls.find(({ title }) => title === 'stock')
  const rows = calls.map(({ title, perSecond, spread, cpu, p50, p99, memory, processes }) => [
    NAMES[title],
    (perSecond / stock.perSecond).toFixed(2),
    `${(spread * 100).toFixed(0)} %`,
    (cpu / stock.cpu).toFixed(2),
    (p50 / stock.p50).toFixed(2),
    (p99 / stock.p99).toFixed(2),
    (memory / stock.memory).toFixed(2),
    String(processes),
  ])
  const unit = `1 is ${stock.perSecond.toFixed(0)} requests/s, ${stock.cpu.toFixed(0)} µs of processor a request, p50 ${(stock.p50 / 1000).toFixed(2)} ms, p99 ${(stock.p99 / 1000).toFixed(2)} ms, ${stock.memory.toFixed(0)} MiB.`
  const head = ['', 'requests/s', 'spread', 'CPU/request', 'p50', 'p99', 'memory', 'processes']
  return `${unit} The spread is that of requests/s between the quartiles.\n\n${table(head, rows)}`
}

function profileTable(profile) {
  const total = profile.reduce((sum, { microseconds }) => sum + microseconds, 0)
  const rows = profile.map(({ name, microseconds }) => [name, `${((microseconds / total) * 100).toFixed(0)} %`, microseconds.toFixed(1)])
  return table(['part', 'share', 'µs'], rows)
}

function loginTable({ logins, hashes, atRest, inFlood }) {
  return table(
    ['', ''],
    [
      ['logins per second', logins.toFixed(1)],
      ['bare argon2id per second, same cores', hashes.toFixed(1)],
      ['`auth.me` at rest: p50, p99', `${ms(atRest.p50)}, ${ms(atRest.p99)}`],
      ['`auth.me` while 64 callers log in: p50, p99', `${ms(inFlood.p50)}, ${ms(inFlood.p99)}`],
    ],
  )
}

function resolvingTable(resolving) {
  const [first] = resolving
  return table(
    ['sessions', 'warm', 'ratio', 'first time', 'database'],
    resolving.map(({ size, warm, cold, mebibytes }) => [
      size.toLocaleString('en'),
      `${warm.toFixed(1)} µs`,
      ratio(warm / first.warm),
      `${cold.toFixed(1)} µs`,
      `${mebibytes.toFixed(0)} MiB`,
    ]),
  )
}

function processTable(memory, connections) {
  return table(
    ['', ''],
    [
      ['from start to listening', `${memory.startMs.toFixed(0)} ms`],
      ['memory at rest', `${memory.atRest.toFixed(0)} MiB`],
      [`memory after ${memory.sessions.toLocaleString('en')} sessions have called`, `${memory.after.toFixed(0)} MiB`],
      ['new TLS connections per second, full handshake', connections.full.toFixed(0)],
      [`new TLS connections per second, resumed (${(connections.share * 100).toFixed(0)} % were)`, connections.resumed.toFixed(0)],
    ],
  )
}

/** Padded as the formatter pads, so that a new run changes figures alone. */
function table(head, rows) {
  const widths = head.map((_cell, column) => Math.max(3, ...[head, ...rows].map((row) => row[column].length)))
  const line = (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  return [line(head), `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...rows.map(line)].join('\n')
}
