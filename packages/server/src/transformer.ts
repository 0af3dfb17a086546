import superjson, { type SuperJSONResult } from 'superjson'
import { AuthError } from './errors.ts'
import { requireSoundAnnotations } from './input-annotations.ts'
import { emptySize, measureJson, measureUnfolded, requireWithinBudget, type Size } from './input-budget.ts'
import { type RequestScope, requestScope, wantsPlainJson } from './request-scope.ts'

/**
 * superjson on the wire, and plain JSON for callers that have no superjson: plain input is accepted as it is, and
 * answered in kind when the request says exactly `Accept: application/json`. Use it as the `transformer` of `initTRPC`.
 */
export const transformer = {
  input: {
    serialize: (value: unknown): unknown => superjson.serialize(value),
    deserialize: readInput,
  },
  output: {
    serialize: (value: unknown): unknown => (wantsPlainJson() ? toPlain(value) : superjson.serialize(value)),
    deserialize: (value: unknown): unknown => superjson.deserialize(value as SuperJSONResult),
  },
}

/** What JSON can say: it has no integers of any length, and an answer must not fail because it repeats one that was sent. */
function toPlain(value: unknown): unknown {
  if (!holdsBigint(value)) return value
  return JSON.parse(JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? String(part) : part)))
}

function holdsBigint(root: unknown): boolean {
  if (typeof root !== 'object' || root === null) return typeof root === 'bigint'
  const met = new Set<unknown>([root])
  // A set goes on to what is added while it is walked.
  for (const whole of met) {
    for (const part of Object.values(whole as object)) {
      if (typeof part === 'bigint') return true
      if (typeof part === 'object' && part !== null) met.add(part)
    }
  }
  return false
}

/** Limits what travels, what it unfolds to, and what superjson would do on the way, before it does it. */
function readInput(value: unknown): unknown {
  if (!isEnvelope(value)) {
    charge(measureJson(value), null)
    return value
  }
  const { json, meta } = value
  const travelled = measureJson(json)
  requireSoundAnnotations(meta, json)
  const decoded = decode(value)
  charge(meta === undefined ? travelled : measureUnfolded(decoded), travelled)
  return decoded
}

function isEnvelope(value: unknown): value is SuperJSONResult {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'json')) return false
  return Object.keys(value).every((key) => key === 'json' || key === 'meta')
}

function decode(envelope: SuperJSONResult): unknown {
  const { stackTraceLimit } = Error
  // For each error that it makes superjson would have a trace made, at the cost of everything else, and then replaces it.
  Error.stackTraceLimit = 0
  try {
    return superjson.deserialize(envelope)
  } catch (cause) {
    throw new AuthError('invalid_input', { message: 'The superjson envelope is not valid', cause })
  } finally {
    Error.stackTraceLimit = stackTraceLimit
  }
}

const spent = new WeakMap<RequestScope, Size>()

/** All calls of a request share what they may cost beyond the text that travelled, which has a limit of its own. */
function charge(size: Size, travelled: Size | null): void {
  const scope = requestScope()
  if (scope === null) return
  const before = spent.get(scope) ?? emptySize()
  const after: Size = {
    values: before.values + (travelled === null ? 0 : Math.max(0, size.values - travelled.values)),
    text: before.text + (travelled === null ? 0 : Math.max(0, size.text - travelled.text)),
    paths: before.paths + size.paths,
    levels: before.levels + size.levels,
  }
  requireWithinBudget(after)
  spent.set(scope, after)
}
