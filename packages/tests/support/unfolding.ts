import fc from 'fast-check'

/** What an anonymous caller may send: superjson's envelope, written by hand. */
export interface Envelope {
  readonly json: Record<string, unknown>
  readonly meta: { values: Record<string, unknown>; referentialEqualities: Record<string, string[]>; v: 1 }
}

/** An envelope with what it unfolds to, as counted by who made it. */
export interface Unfolding {
  readonly form: string
  readonly envelope: Envelope
  readonly values: number
  readonly text: number
  readonly isCircular: boolean
}

interface Part {
  readonly raw: unknown
  readonly type?: unknown
}

/** Kinds of what stands at the end of a chain, with its own count of values and characters. */
const LEAVES: Readonly<Record<string, (size: number) => Part & { values: number; text: number }>> = {
  object: () => ({ raw: { x: 1 }, values: 2, text: 1 }),
  text: (size) => ({ raw: { x: 'x'.repeat(size * 20) }, values: 2, text: size * 20 + 1 }),
  numbers: (size) => ({ raw: Array.from({ length: size }, () => 7), values: size + 1, text: 0 }),
  date: () => ({ raw: '2026-01-02T03:04:05.000Z', type: ['Date'], values: 1, text: 24 }),
  bigint: () => ({ raw: '1'.repeat(40), type: ['bigint'], values: 1, text: 50 }),
  url: (size) => ({ raw: `https://a/${'x'.repeat(size)}`, type: ['URL'], values: 1, text: size + 10 }),
  undefined: () => ({ raw: null, type: ['undefined'], values: 1, text: 0 }),
  'not a number': () => ({ raw: 'NaN', type: ['number'], values: 1, text: 0 }),
  error: () => ({ raw: { name: 'Error', message: 'm' }, type: ['Error'], values: 5, text: 6 }),
  map: (size) => ({ raw: Array.from({ length: size }, (_, i) => [i, i]), type: ['map'], values: 1 + 3 * size, text: 0 }),
  set: (size) => ({ raw: Array.from({ length: size }, (_, i) => i), type: ['set'], values: 1 + size, text: 0 }),
}

/** Kinds of what refers on: how it is written, where its slots are, and what it counts beside them. */
const LINKS: Readonly<Record<string, (slots: number) => Part & { paths: string[]; values: number; text: number }>> = {
  object: (slots) => {
    const names = Array.from({ length: slots }, (_, i) => `s${i}`)
    return { raw: Object.fromEntries(names.map((name) => [name, 0])), paths: names, values: 1, text: 2 * slots }
  },
  array: (slots) => ({ raw: Array.from({ length: slots }, () => 0), paths: range(slots).map(String), values: 1, text: 0 }),
  map: (slots) => ({
    raw: range(slots).map((i) => [i, 0]),
    type: ['map'],
    paths: range(slots).map((i) => `${i}.1`),
    values: 1 + 2 * slots,
    text: 0,
  }),
  set: (slots) => ({
    raw: range(slots).map(() => ({ r: 0 })),
    type: ['set'],
    paths: range(slots).map((i) => `${i}.r`),
    values: 1 + slots,
    text: slots,
  }),
}

function range(length: number): number[] {
  return Array.from({ length }, (_, i) => i)
}

/** A chain in which each link holds the one before it several times. */
export function chain(form: { leaf: string; size: number; links: readonly string[]; slots: number; circle: boolean }): Unfolding {
  const json: Record<string, unknown> = {}
  const meta: Envelope['meta'] = { values: {}, referentialEqualities: {}, v: 1 }
  const put = (name: string, { raw, type }: Part) => {
    json[name] = raw
    if (type !== undefined) meta.values[name] = type
  }
  const leaf = (LEAVES[form.leaf] as NonNullable<(typeof LEAVES)[string]>)(form.size)
  put('v0', leaf)
  let [values, text] = [leaf.values, leaf.text]
  let total = { values: 1 + values, text: 2 + text }
  for (const [index, kind] of form.links.entries()) {
    const link = (LINKS[kind] as NonNullable<(typeof LINKS)[string]>)(form.slots)
    const name = `v${index + 1}`
    put(name, link)
    meta.referentialEqualities[`v${index}`] = link.paths.map((path) => `${name}.${path}`)
    ;[values, text] = [link.values + form.slots * values, link.text + form.slots * text]
    total = { values: total.values + values, text: total.text + name.length + text }
  }
  if (form.circle) {
    // The last one into the first slot of the first.
    const [slot] = meta.referentialEqualities['v0'] ?? []
    if (slot !== undefined) meta.referentialEqualities[`v${form.links.length}`] = [slot]
  }
  return { form: JSON.stringify(form), envelope: { json, meta }, ...total, isCircular: form.circle && form.links.length > 0 }
}

export const unfolding: fc.Arbitrary<Unfolding> = fc
  .record({
    leaf: fc.constantFrom(...Object.keys(LEAVES)),
    size: fc.integer({ min: 1, max: 200 }),
    links: fc.array(fc.constantFrom(...Object.keys(LINKS)), { minLength: 0, maxLength: 24 }),
    slots: fc.integer({ min: 1, max: 6 }),
    circle: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  })
  .map(chain)

/** Whether it has to be taken or refused; near the limits nobody says. */
export function verdictOf({ values, text, isCircular }: Unfolding): 200 | 400 | null {
  if (isCircular || values > 11_000 || text > 1.1 * 1024 * 1024) return 400
  return values < 9500 && text < 0.95 * 1024 * 1024 ? 200 : null
}
