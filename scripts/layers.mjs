// Who may import whom: only downward, and no cycles, even of types. Says what to do about each finding.
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))

// From the bottom up; a file may import its own layer and those before it.
const SERVER_LAYERS = [
  [
    'pure',
    /^(address|buckets|common-passwords|cookies|cursors|endable|errors|foreign-hashes|identifiers|input-annotations|input-budget|issues|log|origin|password-rules|password-schema|passwords|private-files|purge|request|request-scope|require-node|response|return-to|standard-schema|supported-node|tokens|transformer|turns|work-queue)\.ts$/,
  ],
  ['ports', /^(storage\/storage|providers\/provider)\.ts$/],
  ['options', /^options\.ts$/],
  [
    'domain',
    /^(attempts|attributes|throttle|sessions|users|user-admin|user-rules|live|account-events|identities|oauth|audit|refusals)\.ts$/,
  ],
  ['edge', /^(caller-ip|context|request-auth|procedures|router)\.ts$|^routers\//],
  ['adapters', /^(storage|providers)\//],
  ['auth', /^auth\.ts$/],
  ['http', /^http\//],
  ['surface', /^(index|testing)\.ts$|^cli\//],
]
const CLIENT_LAYERS = [
  ['pure', /^(base-url|errors|cookie-jar|require-node)\.ts$/],
  [
    'parts',
    /^(bounded-fetch|cookie-fetch|session|subscription-link|session-link|shared-source|file-lock|file-store|loopback|stream-fetch|tls|platform(-.*)?)\.ts$/,
  ],
  ['transport', /^transport\.ts$/],
  ['client', /^client\.ts$/],
  ['surface', /^(index|node)\.ts$/],
]

// What a layer may not reach, beside other layers.
const FORBIDDEN = [
  {
    where: /^packages\/server\/src\/(throttle|sessions|users|user-admin|user-rules|live|account-events|identities|oauth|audit)\.ts$/,
    what: /^(@trpc\/|node:https?$)/,
    why: 'the domain knows neither tRPC nor HTTP',
  },
  {
    where: /^packages\/server\/src\/(storage|providers)\//,
    what: /\/src\/(context|procedures|router|auth|sessions|users|options)\.ts$/,
    why: 'adapters see their port, pure files and their driver',
  },
  { where: /^packages\/server\/src\//, what: /^@trpc-login\/client/, why: 'the server does not know its client' },
  { where: /^packages\/client\/src\//, what: /^@trpc-login\/server/, why: "types reach the client through the application's router" },
]

/** All findings for a tree of sources, each one sentence. */
export function findViolations(base = root) {
  const findings = []
  for (const [folder, layers] of [
    ['packages/server/src', SERVER_LAYERS],
    ['packages/client/src', CLIENT_LAYERS],
  ]) {
    const files = globSync('**/*.ts', { cwd: join(base, folder) }).toSorted()
    const graph = new Map(files.map((file) => [file, importsOf(join(base, folder, file))]))
    for (const [file, specifiers] of graph) findings.push(...violationsOf(folder, file, specifiers, layers))
    findings.push(...cyclesOf(folder, graph))
  }
  return findings
}

function violationsOf(folder, file, specifiers, layers) {
  const rankOf = (name) => layers.findIndex(([, pattern]) => pattern.test(name))
  const rank = rankOf(file)
  if (rank === -1) return [`${folder}/${file} has no layer: add it to scripts/layers.mjs`]
  return specifiers.flatMap((specifier) => {
    const target = specifier.startsWith('.') ? relativeTo(file, specifier) : null
    const named = target === null ? specifier : `${folder}/${target}`
    const forbidden = FORBIDDEN.find(({ where, what }) => where.test(`${folder}/${file}`) && what.test(named))
    if (forbidden !== undefined) return [`${folder}/${file} imports ${named}: ${forbidden.why}`]
    if (target === 'index.ts') return [`${folder}/${file} imports its own index: import the file`]
    if (target === null || rankOf(target) <= rank) return []
    return [`${folder}/${file} (${layers[rank][0]}) imports ${target} (${layers[rankOf(target)]?.[0] ?? 'no layer'}): imports go downward`]
  })
}

function cyclesOf(folder, graph) {
  const findings = []
  const done = new Set()
  const visit = (file, trail) => {
    if (trail.includes(file)) return void findings.push(`${folder}: cycle ${[...trail.slice(trail.indexOf(file)), file].join(' -> ')}`)
    if (done.has(file)) return
    for (const specifier of graph.get(file) ?? []) if (specifier.startsWith('.')) visit(relativeTo(file, specifier), [...trail, file])
    done.add(file)
  }
  for (const file of graph.keys()) visit(file, [])
  return findings
}

function importsOf(path) {
  const text = readFileSync(path, 'utf8')
  return [...text.matchAll(/^(?:import|export)\b[^'"`;]*?\bfrom\s+'([^']+)'|^import\s+'([^']+)'|\bimport\('([^']+)'\)/gm)].map(
    (match) => match[1] ?? match[2] ?? match[3],
  )
}

function relativeTo(file, specifier) {
  return relative('/', resolve('/', dirname(file), specifier))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const findings = findViolations()
  for (const finding of findings) console.log(finding)
  process.exitCode = findings.length === 0 ? 0 : 1
}
