/** A field that was refused: where it stands in the input, and what is wrong with it. */
export interface Issue {
  readonly path: readonly (string | number)[]
  readonly message: string
}

// Small inputs can break a rule ten thousand times, and each issue repeats the way to its field.
const MAX_ISSUES = 100
const MAX_TEXT = 16 * 1024
const MAX_MESSAGE = 2000
const MAX_KEY = 256
// Values that are looked for in one message, and characters that are looked through in all messages of one refusal: some milliseconds.
const MAX_VALUES = 1000
const MAX_SEARCHED = 100_000
const UNSPECIFIC = 'Invalid value'
const SHORT = 4
const WORD_START = /^[\p{L}\p{N}_]/u
const WORD_END = /[\p{L}\p{N}_]$/u
const TOLD = /(?:["'`]|\b(?:received|got|was):? )$/

/** What zod of any version, valibot and whatever else speaks Standard Schema report. */
interface ForeignIssue {
  readonly message?: unknown
  readonly path?: readonly unknown[]
  readonly code?: unknown
  readonly keys?: readonly unknown[]
}

/** The issues of any validator in our own form: bounded, and without the values that were refused, which may be secrets. */
export function readIssues(issues: readonly unknown[], input: unknown): Issue[] {
  const budget = { searched: MAX_SEARCHED, text: MAX_TEXT }
  const found: Issue[] = []
  for (const issue of issues) {
    for (const next of toIssues(issue ?? {}, input, budget)) {
      budget.text -= next.message.length + next.path.reduce<number>((sum, key) => sum + String(key).length, 0)
      // One at least: an answer must say what is wrong.
      if (found.length > 0 && (found.length === MAX_ISSUES || budget.text < 0)) return found
      found.push(next)
    }
  }
  return found
}

/** A validator's text in which the values of an input are left out. */
export function withoutValues(text: string, input: unknown): string {
  return redact(text, input, { searched: MAX_SEARCHED })
}

function* toIssues({ message, path = [], code, keys }: ForeignIssue, input: unknown, budget: { searched: number }): Generator<Issue> {
  const at = path.map(toKey)
  if (code === 'unrecognized_keys' && Array.isArray(keys)) {
    for (const key of keys) yield { path: [...at, toKey(key)], message: 'Unknown key' }
    return
  }
  yield { path: at, message: redact(typeof message === 'string' ? message : UNSPECIFIC, valueAt(input, path), budget) }
}

/** Standard Schema allows a path of keys and one of objects that hold them. */
function keyOf(segment: unknown): PropertyKey {
  return (typeof segment === 'object' && segment !== null ? (segment as { key: PropertyKey }).key : segment) as PropertyKey
}

function toKey(segment: unknown): string | number {
  const key = keyOf(segment)
  return typeof key === 'number' ? key : String(key).slice(0, MAX_KEY)
}

/** What was refused; the whole input where a path does not lead through plain objects. */
function valueAt(input: unknown, path: readonly unknown[]): unknown {
  let value = input
  for (const segment of path) {
    const key = keyOf(segment)
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return value
    value = (value as Record<PropertyKey, unknown>)[key]
  }
  return value
}

function redact(message: string, refused: unknown, budget: { searched: number }): string {
  if (message.length > MAX_MESSAGE) return UNSPECIFIC
  let text = message
  const waiting = [refused]
  // A short value that comes a thousand times is looked for once.
  const known = new Set<unknown>()
  while (waiting.length > 0) {
    const value = waiting.pop() ?? true
    budget.searched -= message.length + 1
    if (budget.searched < 0) return UNSPECIFIC
    if (known.has(value)) continue
    known.add(value)
    if (typeof value === 'object') waiting.push(...partsOf(value))
    // Words such as null say what kind of value came, and are nobody's secret.
    else if (typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint') text = leaveOutAll(text, String(value))
  }
  return text
}

function partsOf(value: object): unknown[] {
  if (value instanceof Map) return [...value].flat(1).slice(0, MAX_VALUES)
  return (value instanceof Set ? [...value] : Object.values(value)).slice(0, MAX_VALUES)
}

/** Leaves a value out as it is, and as it stands in JSON. */
function leaveOutAll(message: string, value: string): string {
  if (value === '' || value.length > message.length) return message
  return leaveOut(leaveOut(message, value), JSON.stringify(value).slice(1, -1))
}

/** Replaces a value where it stands as a whole; a short one, which may be a piece of any sentence, only where it is quoted or told. */
function leaveOut(message: string, value: string): string {
  const isShort = value.length < SHORT
  let text = ''
  let rest = message
  for (let at = rest.indexOf(value); at !== -1; at = rest.indexOf(value)) {
    const [before, after] = [rest.slice(0, at), rest.slice(at + value.length)]
    const isWhole = !(WORD_END.test(before) && WORD_START.test(value)) && !(WORD_END.test(value) && WORD_START.test(after))
    text += before + (isWhole && (!isShort || TOLD.test(before)) ? '…' : value)
    rest = after
  }
  return text + rest
}
