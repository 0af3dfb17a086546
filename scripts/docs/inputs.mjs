// The fields of an input: types from its JSON Schema, limits in the words that callers get when they exceed them.
import { load } from './project.mjs'

const { toJSONSchema } = await load('zod')

/** The fields of a procedure's input, in the order of its schema. */
export function inputFields(input) {
  const { properties, required = [] } = toJSONSchema(input, { io: 'input', unrepresentable: 'any' })
  const { shape } = unwrap(input).def
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    type: typeOf(schema),
    required: required.includes(name),
    limits: [...new Set(limitsOf(shape[name], schema))].join('; '),
  }))
}

function unwrap(schema) {
  const { innerType } = schema._zod.def
  return innerType === undefined ? schema._zod : unwrap(innerType)
}

function typeOf({ type, anyOf, items, enum: values, additionalProperties }) {
  if (values !== undefined) return values.map((value) => `\`${JSON.stringify(value)}\``).join(' or ')
  if (anyOf !== undefined) return anyOf.map(typeOf).join(' or ')
  if (type === 'array') return `list of ${typeOf(items)}s`
  if (type !== 'object') return type ?? 'any JSON'
  return additionalProperties?.type === undefined ? 'object' : `object of ${typeOf(additionalProperties)}s`
}

// A schema's own bound may be wider than the rule, such as one on bytes before a text is normalised: its message says the rule.
function limitsOf(schema, json) {
  const { checks = [], innerType, in: input, element } = schema._zod.def
  const inner = [innerType, input].filter((part) => part !== undefined).flatMap((part) => limitsOf(part, json))
  const items = element === undefined ? [] : limitsOf(element, json.items ?? {}).map((text) => `each: ${lowerFirst(text)}`)
  return [...inner, ...checks.flatMap((check) => messageOf(check._zod.def, json)), ...items]
}

function messageOf({ error, check, maximum, minimum }, json) {
  const message = error?.({ code: 'custom', input: undefined })
  if (message !== undefined) return [typeof message === 'string' ? message : message.message]
  if (check === 'max_length' && json.type === 'string') return [`At most ${maximum} characters`]
  if (check === 'min_length' && json.type === 'string') return [`At least ${minimum} characters`]
  return []
}

const lowerFirst = (text) => text.replace(/^./, (letter) => letter.toLowerCase())
