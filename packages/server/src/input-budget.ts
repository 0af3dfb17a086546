import { AuthError } from './errors.ts'

const MAX_DEPTH = 64
const MAX_VALUES = 10_000
const MAX_TEXT = 1024 * 1024
// Validators, and superjson for whatever is no plain JSON, repeat the whole way to a value: a long key above many of them is written
// as often.
const MAX_PATHS = 1024 * 1024
// superjson carries an annotation up level by level, at the cost of a property each.
const MAX_LEVELS = 30_000
// superjson refuses to write them (CVE-2022-23631), so no answer could repeat them.
const FORBIDDEN_KEYS: ReadonlySet<string> = new Set(['__proto__', 'constructor', 'prototype'])
const DATE_LENGTH = 24

/** What a value costs whoever walks it: a part that is referred to twice counts twice. */
export interface Size {
  values: number
  /** Characters of texts and keys. */
  text: number
  /** Characters of the paths to all values. */
  paths: number
  /** Levels through which annotations are carried up when the value is written by superjson. */
  levels: number
}

interface Frame {
  readonly value: object
  readonly depth: number
  readonly path: number
  /** The depth of the outermost part around here that was met before: superjson carries its annotations up from there alone. */
  readonly known: number
}

type Walk = Size & { readonly waiting: Frame[]; readonly met: Set<object> | null }

export function emptySize(): Size {
  return { values: 0, text: 0, paths: 0, levels: 0 }
}

/** The size of what JSON says. Iterative, because what it is there to refuse would overflow a recursive walk. @throws `invalid_input` beyond the budget */
export function measureJson(root: unknown): Size {
  return measure(root, null)
}

/** The size of what superjson makes of it, whose parts may be the same and may be of any kind. @throws `invalid_input` beyond the budget */
export function measureUnfolded(root: unknown): Size {
  return measure(root, new Set())
}

/** @throws `invalid_input` where it is more than one request may cost */
export function requireWithinBudget({ values, text, paths, levels }: Size): void {
  if (values > MAX_VALUES) throw tooMuch(`has too many values (at most ${MAX_VALUES}; one that is referred to twice counts twice)`)
  if (text > MAX_TEXT) throw tooMuch(`has too much text (at most ${MAX_TEXT} characters; what is referred to twice counts twice)`)
  if (paths > MAX_PATHS) throw tooMuch(`has too long keys above its values (at most ${MAX_PATHS} characters on the ways to all of them)`)
  if (levels > MAX_LEVELS) throw tooMuch(`has too many values that are no plain JSON too deep inside (at most ${MAX_LEVELS} levels in all)`)
}

function measure(root: unknown, met: Set<object> | null): Size {
  const walk: Walk = { ...emptySize(), waiting: [], met }
  take(walk, root, { depth: 0, path: 0, known: MAX_DEPTH })
  for (let frame = walk.waiting.pop(); frame !== undefined; frame = walk.waiting.pop()) {
    if (Array.isArray(frame.value)) takeItems(walk, frame.value, frame)
    else if (met === null) takeProperties(walk, frame.value, frame)
    else takeParts(walk, frame.value, frame)
  }
  const { values, text, paths, levels } = walk
  return { values, text, paths, levels }
}

function take(walk: Walk, value: unknown, at: Omit<Frame, 'value'>): void {
  walk.values += 1
  walk.paths += at.path
  if (at.depth > MAX_DEPTH) throw tooMuch(`is nested too deeply (at most ${MAX_DEPTH} levels), or refers to itself`)
  if (typeof value === 'string') walk.text += value.length
  else if (typeof value === 'object' && value !== null) takeObject(walk, value, at)
  else if (typeof value === 'function') throw tooMuch('refers to what it does not contain')
  else if (!isPlain(value)) walk.levels += Math.min(at.depth, at.known)
  // In hexadecimal: to count decimal digits takes quadratic time.
  if (typeof value === 'bigint') walk.text += Math.ceil(value.toString(16).length * 1.3)
  requireWithinBudget(walk)
}

/** Whether JSON, and so superjson without an annotation, keeps a primitive as it is. */
function isPlain(value: unknown): boolean {
  return typeof value === 'number' ? Number.isFinite(value) && !Object.is(value, -0) : typeof value === 'boolean' || value === null
}

function takeObject({ waiting, met }: Walk, value: object, { depth, path, known }: Omit<Frame, 'value'>): void {
  const isKnown = met?.has(value) === true
  met?.add(value)
  waiting.push({ value, depth, path, known: isKnown ? Math.min(known, depth) : known })
}

function takeItems(walk: Walk, items: readonly unknown[], { depth, path, known }: Frame): void {
  // Before the loop: a list may be longer than what it holds.
  if (items.length > MAX_VALUES) requireWithinBudget({ ...walk, values: items.length })
  const at = { depth: depth + 1, path: path + String(items.length).length + 1, known }
  // By keys where a reference may have given a list others than indexes, which superjson walks too.
  if (walk.met !== null) for (const value of Object.values(items)) take(walk, value, at)
  else for (const value of items) take(walk, value, at)
}

function takeProperties(walk: Walk, value: object, { depth, path, known }: Frame): void {
  for (const key of Object.keys(value)) {
    if (FORBIDDEN_KEYS.has(key)) throw tooMuch(`must not have a key named ${key}`)
    walk.text += key.length
    take(walk, (value as Record<string, unknown>)[key], { depth: depth + 1, path: path + key.length + 1, known })
  }
}

/** The parts of whatever superjson, and an application's own types, made of JSON. */
function takeParts(walk: Walk, value: object, frame: Frame): void {
  const { depth, path, known } = frame
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === Object.prototype || prototype === null) return takeProperties(walk, value, frame)
  walk.levels += Math.min(depth, known)
  const at = { depth: depth + 1, path: path + 1, known }
  if (value instanceof Date) walk.text += DATE_LENGTH
  else if (value instanceof URL) walk.text += value.href.length
  else if (ArrayBuffer.isView(value)) walk.text += value.byteLength
  else if (value instanceof Set || value instanceof Map) takeItems(walk, [...value], frame)
  else {
    const hidden = value instanceof Error ? [value.message, value.stack, value.cause] : []
    for (const part of [...hidden, ...Object.values(value)]) if (typeof part !== 'function') take(walk, part, at)
  }
}

function tooMuch(what: string): AuthError {
  return new AuthError('invalid_input', { message: `The input ${what}` })
}
