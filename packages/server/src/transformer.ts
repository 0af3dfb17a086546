import superjson, { type SuperJSONResult } from 'superjson'
import { AuthError } from './errors.ts'
import { wantsPlainJson } from './request-scope.ts'

const MAX_DEPTH = 64
const MAX_ANNOTATIONS = 1000

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
    serialize: (value: unknown): unknown => (wantsPlainJson() ? value : superjson.serialize(value)),
    deserialize: (value: unknown): unknown => superjson.deserialize(value as SuperJSONResult),
  },
}

function readInput(value: unknown): unknown {
  requireBounded(value)
  if (!isEnvelope(value)) return value
  requireHarmless(value.meta)
  try {
    return superjson.deserialize(value)
  } catch (cause) {
    throw new AuthError('invalid_input', { message: 'The superjson envelope is not valid', cause })
  }
}

function isEnvelope(value: unknown): value is SuperJSONResult {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'json')) return false
  return Object.keys(value).every((key) => key === 'json' || key === 'meta')
}

// Iterative, because the very inputs it is there to refuse would overflow a recursive walk.
function requireBounded(root: unknown): void {
  let level: unknown[] = [root]
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > MAX_DEPTH) throw new AuthError('invalid_input', { message: `Input may be nested ${MAX_DEPTH} levels deep` })
    level = level.flatMap((value) => (typeof value === 'object' && value !== null ? Object.values(value) : []))
  }
}

/** Typed arrays are allocated before validation, and annotations cost quadratic time (superjson issue 346). */
function requireHarmless(meta: unknown): void {
  if (meta === undefined) return
  let annotations = 0
  JSON.stringify(meta, (_key, value: unknown) => {
    annotations += 1
    if (annotations > MAX_ANNOTATIONS)
      throw new AuthError('invalid_input', { message: `Input may carry ${MAX_ANNOTATIONS} superjson annotations` })
    if (value === 'typed-array' || value === 'regexp')
      throw new AuthError('invalid_input', { message: `superjson type ${value} is not accepted` })
    return value
  })
}
