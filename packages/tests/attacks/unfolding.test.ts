import fc from 'fast-check'
import superjson, { SuperJSON } from 'superjson'
import { expect, test } from 'vitest'
import { transformer } from '../../server/src/transformer.ts'
import { PLACES, startBehind } from '../support/behind.ts'
import { cpuOf } from '../support/cost.ts'
import { startServer } from '../support/server.ts'
import { serveSockets } from '../support/socket.ts'
import { chain, unfolding, verdictOf } from '../support/unfolding.ts'

const PER_PLACE = Math.ceil(1000 / PLACES.length)
const AT_ONCE = 4
const WAYS = ['mutation', 'query', 'batch of mutations', 'batch of queries'] as const

function requestOf(way: (typeof WAYS)[number], body: unknown) {
  const isBatch = way.startsWith('batch')
  const input = JSON.stringify(isBatch ? { 0: { json: 1 }, 1: body } : body)
  const name = way.endsWith('mutation') || way.endsWith('mutations') ? 'echoes' : 'readsBack'
  const path = isBatch ? `${name},${name}?batch=1` : name
  if (name === 'readsBack') return { target: `${path}${isBatch ? '&' : '?'}input=${encodeURIComponent(input)}` }
  return { method: 'POST', target: path, headers: { 'content-type': 'application/json' }, body: input }
}

test.each(PLACES)(
  `IN-3: ${PER_PLACE} inputs that unfold are refused beyond the budget and taken within it, and nothing else comes of them: %s`,
  {
    timeout: 120_000,
  },
  async (place) => {
    await using app = await startBehind(place)
    const counts = new Map<string, number>()
    // What unfolds to much is short; a long address is refused before anybody looks at it.
    const cases = fc.sample(fc.tuple(unfolding, fc.constantFrom(...WAYS)), PER_PLACE).filter(([made]) => verdictOf(made) !== null)
    async function work(): Promise<void> {
      for (let next = cases.pop(); next !== undefined; next = cases.pop()) {
        const [made, way] = next
        const request = requestOf(way, made.envelope)
        if (request.target.length > 8000) continue
        const { status, reasons, body } = await app.call(request)
        if (status !== verdictOf(made))
          throw new Error(`${way} ${made.form} (${made.values} values, ${made.text} characters): ${status} ${body.slice(0, 300)}`)
        if (status === 400) expect(new Set(reasons)).toEqual(new Set(['invalid_input']))
        counts.set(`${way} ${status}`, (counts.get(`${way} ${status}`) ?? 0) + 1)
      }
    }
    await Promise.all(Array.from({ length: AT_ONCE }, work))
    console.log(`${place}: ${JSON.stringify(Object.fromEntries([...counts].toSorted(([a], [b]) => a.localeCompare(b))))}`)
    expect([...counts.keys()].map((key) => key.slice(-3))).toEqual(expect.arrayContaining(['200', '400']))
    expect(app.lines.filter(({ event }) => event === 'procedure_failed')).toEqual([])
  },
)

// Few keys with what superjson escapes: the engine's JSON.parse takes some that begin alike for one another (V8 13.6, `{"x\\\\.":1}` after `{"x\\\\\\\\":1}`).
const key = fc.oneof(
  fc.string().filter((text) => !/[.\\]/.test(text) && !['__proto__', 'constructor', 'prototype', 'json', 'meta'].includes(text)),
  fc.constantFrom('a.b', 'c\\d', '', '0', '01'),
)
const leaf = fc.oneof(
  fc.string(),
  fc.double(),
  fc.boolean(),
  fc.constantFrom(null, undefined, -0, Number.NaN),
  fc.bigInt(),
  fc.date({ noInvalidDate: true }),
  fc.webUrl().map((text) => new URL(text)),
  fc.string().map((text) => Object.assign(new Error(text), { stack: undefined })),
)
const whole = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    leaf,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(key, tie('value'), { maxKeys: 4 }),
    fc.array(fc.tuple(leaf, tie('value')), { maxLength: 3 }).map((rows) => new Map(rows)),
    fc.array(leaf, { maxLength: 4 }).map((items) => new Set(items)),
  ),
})).value

/** The same part at several places, as programs have it. */
const shared = fc.tuple(whole, whole).map(([a, b]) => ({
  a,
  b,
  again: [a, b, { a }],
  more: new Map<unknown, unknown>([
    ['a', a],
    ['list', [b, b]],
  ]),
}))

/** What superjson reads of its own text; `null` where it cannot, as of some maps whose keys are errors. */
function roundTrip(value: unknown): string | null {
  try {
    return superjson.stringify(superjson.parse(superjson.stringify(value)))
  } catch {
    return null
  }
}

test('IN-3: whatever superjson writes and reads is read as it was, parts that are met twice included', () => {
  fc.assert(
    fc.property(shared, (value) => {
      const expected = roundTrip(value)
      fc.pre(expected !== null)
      const wire = JSON.parse(JSON.stringify(superjson.serialize(value))) as unknown
      const read = transformer.input.deserialize(wire) as typeof value
      expect(superjson.stringify(read)).toBe(expected)
    }),
    { numRuns: 1000 },
  )
})

test('IN-3: one object passed twice by the SDK is taken, once in a batch and once alone, and so is what a client that leaves out copies sends', async () => {
  await using server = await startServer()
  const { api } = server.client()
  const one = { deep: { list: [1, 2, 3], text: 'x' } }
  const input = { one, two: one, list: [one, one, one], nested: { one } }
  const answers = await Promise.all(Array.from({ length: 5 }, () => api.notauthFunc.mutate(input)))
  expect(new Set(answers.map(({ msg }) => msg))).toEqual(new Set([`notauth_func(${JSON.stringify(input)})`]))
  const { status, body } = await server.post('notauthFunc', new SuperJSON({ dedupe: true }).serialize(input))
  expect([status, body.result?.data]).toEqual([200, { ok: true, msg: `notauth_func(${JSON.stringify(input)})` }])
})

const doubling = (links: number, leaf = 'object') =>
  chain({ leaf, size: 200, links: Array.from({ length: links }, () => 'object'), slots: 2, circle: false }).envelope

test.each(PLACES)('IN-1: the calls of one request share what they may unfold to, and not what travels: %s', async (place) => {
  await using app = await startBehind(place)
  const send = async (path: string, calls: readonly unknown[]) => {
    const target = `${calls.map(() => path).join(',')}?batch=1`
    const body = JSON.stringify(Object.fromEntries(calls.map((call, index) => [index, call])))
    return (await app.call({ method: 'POST', target, headers: { 'content-type': 'application/json' }, body })).status
  }
  const unfolds = doubling(8)
  expect(await send('echoes', [unfolds])).toBe(200)
  expect(
    await send(
      'echoes',
      Array.from({ length: 2 }, () => unfolds),
    ),
  ).toBe(200)
  expect(
    await send(
      'echoes',
      Array.from({ length: 10 }, () => unfolds),
    ),
  ).toBe(400)
  const travels = { json: Array.from({ length: 3000 }, () => 7) }
  expect(
    await send(
      'echoes',
      Array.from({ length: 10 }, () => travels),
    ),
  ).toBe(200)
})

test('IN-1: each request has the whole budget, however many came before on its connection', async () => {
  await using app = await startBehind('standalone')
  const [unfolds, long] = [doubling(10), { json: { [HEAVY]: list(40) } }]
  for (const body of [unfolds, unfolds, long, long, unfolds]) {
    // Over one connection that is kept.
    const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
    const answer = await fetch(`http://127.0.0.1:${app.port}/trpc/echoes`, init)
    expect([answer.status, (await answer.text()).length > 1000]).toEqual([200, true])
  }
  await using sockets = await serveSockets(app.auth, app.router)
  const socket = await sockets.open({})
  for (let i = 0; i < 5; i += 1) expect((await socket.ask('mutation', 'echoes', long.json)).error).toBeUndefined()
  void socket.ask('mutation', 'echoes', list(10_001))
  expect((await socket.refusal).error).toMatchObject({ data: { reason: 'invalid_input' } })
})

test.each(['ours', 'ours without the direct path', 'standalone'] as const)(
  'IN-2: an integer of any length is repeated to callers of plain JSON too, as text: %s',
  async (place) => {
    await using app = await startBehind(place)
    const body = {
      json: { a: ['1', { b: '-9' }], at: '2026-01-02T03:04:05.000Z' },
      meta: { values: { 'a.0': ['bigint'], 'a.1.b': ['bigint'], at: ['Date'] }, v: 1 },
    }
    const { status, body: answer } = await app.post('echoes', body)
    expect([status, JSON.parse(answer)]).toEqual([200, { result: { data: { a: ['1', { b: '-9' }], at: '2026-01-02T03:04:05.000Z' } } }])
    expect((await app.post('echoes', { json: '7', meta: { values: ['bigint'], v: 1 } })).body).toBe('{"result":{"data":"7"}}')
  },
)

const HEAVY = 'k'.repeat(20_000)
const list = (length: number, item: unknown = 0) => Array.from({ length }, () => item)
const values = (json: unknown, tree: unknown, v: unknown = 1) => ({ json, meta: { values: tree, v } })
const equal = (json: unknown, referentialEqualities: unknown, tree?: unknown) => ({
  json,
  meta: { values: tree, referentialEqualities, v: 1 },
})

/** Each would cost much, end in an error of ours, or give a procedure what JSON cannot hold. */
const HOSTILE: Record<string, unknown> = {
  'a circle': equal({ a: { b: {} } }, { a: ['a.b'] }),
  'the whole in itself': equal({ a: {} }, [['a']]),
  'the whole in itself, with more': equal({ a: {}, b: {} }, [['a'], { a: ['b'] }]),
  'a circle of two': equal({ a: { b: 0 }, b: { a: 0 } }, { a: ['b.a'], b: ['a.b'] }),
  'a circle in a list': equal({ a: [0] }, { a: ['a.0'] }),
  'a circle in a map': equal({ a: [['k', 0]] }, { a: ['a.0.1'] }, { a: ['map'] }),
  'a circle as the key of a map': equal({ a: [[{}, 0]] }, { a: ['a.0.0'] }, { a: ['map'] }),
  'a circle in a set': equal({ a: [{}] }, { a: ['a.0'] }, { a: ['set'] }),
  '27 levels': doubling(27),
  '900 levels deep': equal(
    Object.fromEntries(Array.from({ length: 900 }, (_, i) => [`v${i}`, { n: 0 }])),
    Object.fromEntries(Array.from({ length: 899 }, (_, i) => [`v${i}`, [`v${i + 1}.n`]])),
  ),
  'a list with a name that is no index': equal({ a: [1], b: [] }, { a: ['b.x'], b: ['a.y'] }),
  'a list without end': equal({ a: { x: 1 }, b: [] }, { a: ['b.4000000000'] }),
  'a function of a prototype': equal({ a: { x: 1 }, b: 0 }, { 'a.toString': ['b'] }),
  'parts of what was decoded': equal({ a: 'https://a/', b: 0 }, { 'a.searchParams': ['b'], 'a.toJSON': ['b'] }, { a: ['URL'] }),
  'a constructor': equal({ a: {}, b: 0 }, { 'a.constructor': ['b'] }),
  'far rows of a set, written as other numbers': equal(
    { s: list(9000).map((_, i) => i) },
    Object.fromEntries(list(450).map((_, i) => [`s.8${String(i).padStart(3, '0')}e0`, ['s. 8999']])),
    { s: ['set'] },
  ),
  'far rows of a set': equal(
    { s: list(9000).map((_, i) => i) },
    Object.fromEntries(list(450).map((_, i) => [`s.${8000 + i}`, ['s.8999']])),
    { s: ['set'] },
  ),
  'a way that is no text': equal({ a: 1 }, { a: [1] }),
  'ways that are no list': equal({ a: 1, b: 2 }, { a: 'b' }),
  'a set made again and again': values(
    { a: { a: list(3000) } },
    Object.fromEntries(['a', 'b', 'c'].map((_, i) => [`${'a.'.repeat(i)}a`, ['set']])),
  ),
  'one way written in two forms': values({ a: { b: '1' } }, { a: { b: ['bigint'] }, 'a.b': ['bigint'] }),
  'one index written in two forms': values({ a: ['1'] }, { 'a.0': ['bigint'], 'a.00': ['bigint'] }),
  'a way through a set': values({ a: [1, 'NaN'] }, { a: ['set'], 'a.1': ['number'] }),
  'a way to nothing': values({ a: 1 }, { b: ['bigint'] }),
  'a way through a number': values({ a: 1 }, { 'a.b.c': ['Date'] }),
  'a long way': values({ a: 1 }, { ['a.'.repeat(15_000)]: ['map', Object.fromEntries(list(500).map((_, i) => [i, ['Date']]))] }),
  'trees that are no lists': values(
    { [HEAVY]: list(500, '2026-01-01T00:00:00.000Z') },
    { [HEAVY]: Object.fromEntries(list(500).map((_, i) => [i, ['Date']])) },
  ),
  'a number of 64,000 digits': values('9'.repeat(64_000), ['bigint']),
  'a number that is none': values('0x10', ['number']),
  'a date of 60,000 characters': values('1'.repeat(60_000), ['Date']),
  'a map of no rows': values([1, 2], ['map']),
  'a set of no list': values({ length: 1e9 }, ['set']),
  'an error whose message is a value': values({ message: { toString: 1 } }, ['Error']),
  'a URL that is none': values({ a: 'x' }, { a: ['URL'] }),
  'a regular expression': values('/(a+)+$/', ['regexp']),
  'a typed array': values(1e8, [['typed-array', 'Float64Array']]),
  'an unknown class': values({ a: {} }, { a: [['class', 'Nope']] }),
  'an unknown type': values({ a: {} }, { a: ['hasOwnProperty'] }),
  'a path that is none': values({ a: 1 }, { 'a\\b': ['Date'] }),
  'a tree of three': values({ a: 1 }, { a: ['Date', {}, 1] }),
  'no tree': values({ a: 1 }, 7),
  'no meta': { json: 1, meta: 7 },
  'a version that is none': values(1, {}, 'x'),
  '2,000 annotations': values(list(2000, null), Object.fromEntries(list(2000).map((_, i) => [i, ['undefined']]))),
  '1,000 zeros below nothing, under a long key': `{"${HEAVY}":[${list(1000, '-0').join()}]}`,
  'infinities, far inside': `${'['.repeat(60)}${list(9000, '1e999').join()}${']'.repeat(60)}`,
  '10,001 values': list(10_001),
  'a key of __proto__': '{"a":{"__proto__":{"x":1}}}',
  'a key of constructor': '{"json":{"constructor":{"x":1}}}',
  '65 levels': `${'['.repeat(66)}${']'.repeat(66)}`,
}

test.each(Object.entries(HOSTILE))('IN-3: %s is refused at the cost of its length', (_name, body) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const refused = () => {
    try {
      transformer.input.deserialize(JSON.parse(text))
      return 'taken'
    } catch (error) {
      return (error as { reason?: string }).reason ?? String(error)
    }
  }
  expect(refused()).toBe('invalid_input')
  expect(cpuOf(refused)).toBeLessThan(20)
})

test('IN-2: what is refused in the form of an input is 400 on every path, with a message that says why', async () => {
  for (const place of ['ours', 'ours without the direct path', 'standalone'] as const) {
    await using app = await startBehind(place)
    for (const [name, body] of Object.entries(HOSTILE)) {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const answer = await app.call({ method: 'POST', target: 'echoes', headers: { 'content-type': 'application/json' }, body: text })
      expect([name, answer.status, answer.reasons]).toEqual([name, 400, ['invalid_input']])
      expect(answer.body).toMatch(/The (input|superjson envelope) |superjson type/)
    }
  }
})
