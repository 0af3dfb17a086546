import { AuthError } from './errors.ts'

const MAX_ANNOTATIONS = 1000
// Nobody's numbers are longer, and both to read and to write one takes quadratic time.
const MAX_DIGITS = 2048
const MAX_SEGMENTS = 128
// superjson counts its way to a row of a map or set from the first one on.
const MAX_ROWS = 250_000
const INDEX = /^(?:0|[1-9]\d{0,9})$/
const BIGINT = new RegExp(`^-?\\d{1,${MAX_DIGITS}}$`)
const NUMBERS: ReadonlySet<unknown> = new Set(['NaN', 'Infinity', '-Infinity', '-0'])
const MAX_DATE = 64

/** What superjson writes for a value of each type; whatever else stands there was not written by it. */
const RAW: Readonly<Record<string, (raw: unknown) => boolean>> = {
  undefined: (raw) => raw === null,
  bigint: (raw) => typeof raw === 'string' && BIGINT.test(raw),
  Date: (raw) => typeof raw === 'string' && raw.length <= MAX_DATE,
  number: (raw) => NUMBERS.has(raw),
  set: (raw) => Array.isArray(raw),
  map: (raw) => Array.isArray(raw) && raw.every((row) => Array.isArray(row) && row.length === 2),
  Error: (raw) =>
    isRecord(raw) && [raw['name'], raw['message'], raw['stack']].every((text) => text === undefined || typeof text === 'string'),
  URL: (raw) => typeof raw === 'string',
}
// What an application has registered with superjson; it refuses the names that it does not know.
const REGISTERED: ReadonlySet<unknown> = new Set(['class', 'custom', 'symbol'])

/** Where an annotation points: at a part of what holds it, or at the whole. */
interface Place {
  readonly holder: object | null
  readonly key: string
  readonly raw: unknown
}

/** What annotations were seen so far. */
interface Seen {
  readonly isLegacy: boolean
  count: number
  hasRows: boolean
  readonly types: Map<object, Set<string>>
}

/**
 * Looks at the annotations of a superjson envelope before superjson does, which trusts them: each way must lead to a part of the JSON,
 * each part has one type at most, and the work that they ask for is linear (superjson issue 346).
 * @throws `invalid_input`
 */
export function requireSoundAnnotations(meta: unknown, json: unknown): void {
  if (meta === undefined) return
  if (!isRecord(meta)) throw unsound()
  const { values, referentialEqualities, v } = meta
  if (v !== undefined && typeof v !== 'number') throw unsound()
  const seen: Seen = { isLegacy: (v ?? 0) < 1, count: 0, hasRows: false, types: new Map() }
  if (Array.isArray(values)) readType(values, { holder: null, key: '', raw: json }, seen)
  else if (values !== undefined) readTypes(values, json, seen)
  if (referentialEqualities !== undefined) readEqualities(referentialEqualities, seen)
}

function readTypes(tree: unknown, base: unknown, seen: Seen): void {
  if (!isRecord(tree)) throw unsound()
  for (const key in tree) readType(tree[key], descend(base, parsePath(key, seen.isLegacy), seen), seen)
}

/** As superjson does it, what is inside comes first: its ways lead through plain JSON, and not through maps and sets. */
function readType(tree: unknown, place: Place, seen: Seen): void {
  if (!Array.isArray(tree) || tree.length > 2) throw unsound()
  count(seen)
  const [type, inside] = tree as unknown[]
  if (inside !== undefined) readTypes(inside, place.raw, seen)
  requireType(type, place.raw)
  if (type === 'set' || type === 'map' || Array.isArray(type)) seen.hasRows = true
  if (place.holder === null) return
  if (isTyped(place.holder, place.key, seen)) throw unsound()
  const keys = seen.types.get(place.holder) ?? new Set()
  seen.types.set(place.holder, keys.add(place.key))
}

function descend(base: unknown, path: readonly string[], seen: Seen): Place {
  let raw = base
  let holder: object | null = null
  for (const [step, key] of path.entries()) {
    if (typeof raw !== 'object' || raw === null) throw unsound()
    if (holder !== null && isTyped(holder, path[step - 1] ?? '', seen)) throw unsound()
    holder = raw
    // What an application's own type writes may be nothing.
    const isThere = Array.isArray(raw) ? INDEX.test(key) && Number(key) < raw.length : Object.hasOwn(raw, key) || step === path.length - 1
    if (!isThere) throw unsound()
    raw = Object.hasOwn(raw, key) ? (raw as Record<string, unknown>)[key] : undefined
  }
  return { holder, key: path.at(-1) ?? '', raw }
}

function isTyped(holder: object, key: string, seen: Seen): boolean {
  return seen.types.get(holder)?.has(key) === true
}

function requireType(type: unknown, raw: unknown): void {
  const [name] = Array.isArray(type) ? (type as unknown[]) : [type]
  if (name === 'typed-array' || name === 'regexp') {
    // Typed arrays are allocated before anything is validated.
    throw new AuthError('invalid_input', { message: `superjson type ${name} is not accepted` })
  }
  const isSound = Array.isArray(type)
    ? REGISTERED.has(name)
    : typeof type === 'string' && Object.hasOwn(RAW, type) && RAW[type]?.(raw) === true
  if (!isSound) throw unsound()
}

/** Which parts are one; superjson names the whole, in a list of its own, only where it holds itself. */
function readEqualities(equalities: unknown, seen: Seen): void {
  if (Array.isArray(equalities)) throw new AuthError('invalid_input', { message: 'The input refers to itself' })
  if (!isRecord(equalities)) throw unsound()
  let rows = 0
  const read = (path: unknown) => {
    if (typeof path !== 'string') throw unsound()
    count(seen)
    const segments = parsePath(path, seen.isLegacy)
    if (segments.length > MAX_SEGMENTS) throw unsound()
    // As superjson reads them: 8e3 is a row too.
    for (const segment of segments) rows += Math.max(0, Number(segment) || 0)
    if (seen.hasRows && rows > MAX_ROWS) throw tooMany(`rows of maps and sets that are referred to (at most ${MAX_ROWS} rows on the way)`)
  }
  for (const path in equalities) {
    const same = equalities[path]
    if (!Array.isArray(same)) throw unsound()
    read(path)
    for (const other of same) read(other)
  }
}

function count(seen: Seen): void {
  seen.count += 1
  if (seen.count > MAX_ANNOTATIONS) throw tooMany(`superjson annotations (at most ${MAX_ANNOTATIONS})`)
}

/** The segments between dots. A backslash keeps a dot from being one; since version 1 of superjson's format it does so for itself too. */
function parsePath(path: string, isLegacy: boolean): string[] {
  if (!path.includes('\\')) return path.split('.')
  const segments: string[] = []
  let segment = ''
  for (let at = 0; at < path.length; at += 1) {
    const next = path[at + 1]
    if (path[at] === '\\' && (next === '.' || (next === '\\' && !isLegacy))) {
      segment += next
      at += 1
    } else if (path[at] === '\\' && !isLegacy) throw unsound()
    else if (path[at] === '.') {
      segments.push(segment)
      segment = ''
    } else segment += path[at]
  }
  return [...segments, segment]
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unsound(): AuthError {
  return new AuthError('invalid_input', { message: 'The superjson envelope is not valid' })
}

function tooMany(what: string): AuthError {
  return new AuthError('invalid_input', { message: `The input has too many ${what}` })
}
