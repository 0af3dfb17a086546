import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RawRequest } from '../support/raw-http.ts'
import { PASSWORD } from '../support/server.ts'
import { STYLES, type Style, startTwins, type Twins } from '../support/twins.ts'

// A release is tried with many more: DIFFERENTIAL_RUNS=100000.
const RUNS = Number(process.env['DIFFERENTIAL_RUNS'] ?? 4000)
const JSON_TYPE = { 'content-type': 'application/json' }
const ENOUGH = 65_536
const count = { compared: 0, statuses: new Map<string, number>() }
let twins: Record<Style, Twins>

beforeAll(async () => {
  const [ours, bare, hostile] = await Promise.all(STYLES.map(startTwins))
  twins = { ours, bare, hostile } as Record<Style, Twins>
})
afterAll(async () => {
  const pairs = Object.values(twins)
  const taken = pairs.reduce((sum, pair) => sum + pair.taken(), 0)
  const statuses = Object.fromEntries([...count.statuses].toSorted(([a], [b]) => a.localeCompare(b)))
  console.log(`${count.compared} requests answered alike, ${taken} of them by the direct path; by status: ${JSON.stringify(statuses)}`)
  await Promise.all(pairs.map((pair) => pair[Symbol.asyncDispose]()))
})

async function compare(style: Style, request: RawRequest): Promise<void> {
  const { ours, trpcs } = await twins[style].call(request)
  const said = { ...request, body: request.body?.toString().slice(0, 500) }
  expect(ours, `${style}: ${JSON.stringify(said)}`).toEqual(trpcs)
  count.compared += 1
  const status = ours.head.slice(9, 12) || 'none'
  count.statuses.set(status, (count.statuses.get(status) ?? 0) + 1)
}

const get = (target: string, headers: Record<string, string> = {}): RawRequest => ({ target: `/api/${target}`, headers })
const post = (target: string, body?: RawRequest['body'], headers: Record<string, string> = JSON_TYPE): RawRequest => ({
  method: 'POST',
  target: `/api/${target}`,
  headers,
  ...(body === undefined ? {} : { body }),
})
const withInput = (path: string, value: unknown) => `${path}?input=${encodeURIComponent(JSON.stringify(value))}`

const RESULTS =
  'nothing null date map bigint circular shared deep unicode long numbers holes match getter proto error buffer toJSON promised thenable generator iterable unwritable function'
const THROWN = 'error string nothing object trpc auth unavailable unformattable unwritable status204 status700 status299'
const INPUTS = [
  '{"a":1}',
  '{"json":{"a":1}}',
  '{"json":{"a":1,"at":"2026-01-01T00:00:00.000Z"},"meta":{"values":{"at":["Date"]}}}',
  '{"a":1,"at":"2026-01-01"}',
  '{"a":"1"}',
  '{"__proto__":{"a":1}}',
  '{"json":{"a":1},"meta":{"values":{"__proto__.x":["Date"]}}}',
  '{"json":{"a":1},"meta":{"values":{"a":["class","Nope"]}}}',
  '{"json":{"a":1},"meta":{"values":{"a":[["typed-array","Float64Array"]]}}}',
  'null',
  '7',
  '"text"',
  '"unreadable"',
  '[]',
  '[1]',
  '{}',
  '',
  ' ',
  '{"a":',
  'hunter2',
  '\ufeff{"a":1}',
  '{"0":{"a":1},"1":{"a":2}}',
  `${'['.repeat(3000)}${']'.repeat(3000)}`,
]
const HEADERS: Record<string, string>[] = [
  { accept: 'application/json' },
  { accept: '*/*' },
  { accept: 'text/event-stream' },
  { accept: 'application/jsonl' },
  { accept: 'text/html, application/jsonl ;q=1' },
  { accept: 'text/html,application/jsonl' },
  { 'trpc-accept': 'application/jsonl' },
  { 'trpc-accept': 'application/json' },
  { 'trpc-accept': '' },
  { cookie: 'LIVE' },
  { cookie: 'a=b; __Host-session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' },
  { cookie: '__Host-session=x' },
  { 'x-context': 'fails' },
  { 'x-context': 'refuses' },
  { 'x-context': 'status' },
  { 'x-context': 'header' },
  { 'x-context': 'reads' },
  { origin: 'https://app.example.com' },
  { origin: 'https://evil.example' },
  { 'sec-fetch-site': 'cross-site' },
  { 'content-type': 'text/plain' },
  { 'content-type': '' },
  { 'content-type': 'APPLICATION/JSON' },
  { 'content-type': 'application/json; charset=utf-8' },
  { 'content-type': 'application/json ;charset=latin1' },
  { 'content-type': 'application/jsonx' },
  { 'content-type': 'multipart/form-data; boundary=x' },
  { 'content-type': 'application/octet-stream' },
  { 'content-encoding': 'gzip' },
  { 'last-event-id': '7' },
  { connection: 'close' },
  { host: 'LOCALHOST:8443' },
  { host: '[::1]:1' },
  { host: 'a b' },
  { host: '1.2.3.4.5' },
  { host: '999.1' },
  { host: 'user@host' },
  { host: 'host/path?x#y' },
  { host: 'host:99999' },
  { host: 'xn--a' },
  { host: '' },
  { 'x-latin': '\u00e9\u00ff' },
]
const TARGETS = [
  'date',
  'date?',
  'date?&',
  'date?input=',
  'date?batch=1',
  'date,date?batch=1',
  'date,date?batch=0',
  'date,date',
  'date,date?batch=true',
  'date,date?batch=%31',
  'date,date?%62atch=1',
  'date,date?batch=1&batch=0',
  'date,date?batch=0&batch=1',
  'date%2Cdate?batch=1',
  'date,?batch=1',
  ',?batch=1',
  'date,nope?batch=1',
  'date,noInput?batch=1',
  'date,ticks?batch=1',
  'ticks,ticks?batch=1',
  `${Array.from({ length: 10 }, () => 'date').join()}?batch=1`,
  `${Array.from({ length: 11 }, () => 'date').join()}?batch=1`,
  'date?connectionParams=%7B%22a%22%3A%22b%22%7D',
  'date?connectionParams=nonsense',
  'date?unknown=1',
  'date?lastEventId=3',
  'seen?input=1&input=2',
  'seen?batch=1&input=%7B%7D',
  'seen,seen?input=%7B%220%22%3A1%7D&batch=1',
  'nested.deeper.date',
  'nested/deeper/date',
  'nested.odd%20name',
  'nested.odd name',
  'nested.%C3%BCnder',
  'later.date',
  'later.date,later.date?batch=1',
  'later.nope',
  '',
  '/',
  '.',
  '..',
  './date',
  'x/../date',
  '%2e%2e/api/date',
  'date/',
  '/date',
  '//date',
  'd%61te',
  '%zz',
  '%ff',
  'date%00',
  'date#x',
  'date?#x',
  'date?input=#x',
  'date\\',
  'd\u00e4te',
  'date;x',
  'DATE',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty,date?batch=1',
  'auth',
  'auth.me',
  'auth.me,auth.sessions.list,guarded,admin?batch=1',
  'auth.login',
  'auth.logout,auth.logout?batch=1',
  'auth.events',
  'guarded',
  'admin',
  'own',
  'own,date?batch=1',
  'badOutput',
  'ticks',
  'ticks?input=1&lastEventId=2',
  'guardedTicks',
  'echo?input=1+2',
  'echo?input=%221+2%22',
  'echo?input=%22a%2Bb%22',
  'echo?input="raw"',
  'echo?input="\'<>`{|}^\\\\"',
  'echo?input=%ff',
  'echo?input=%',
  'echo?input=%zz',
  'echo?input=%00',
  'echo?input=%EF%BB%BF1',
  'echo?input=\u00e9',
  'echo?input=%22%F0%9F%98%80%22',
  'echo?input=%22%ED%A0%80%22',
  `echo?input=${'1'.repeat(9000)}`,
]
const POSTED = [
  'echoPost',
  'strictPost',
  'twice',
  'void',
  'noInput',
  'seenPost',
  'guardedPost',
  'auth.account.update',
  'auth.login',
  'echo',
  'nope',
]

function byHand(): RawRequest[] {
  const odd: RawRequest[] = [
    ...['HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH'].flatMap((method) => [
      { method, target: '/api/date' },
      { method, target: '/api/noInput', headers: JSON_TYPE, body: '{}' },
    ]),
    { ...post('echoPost', '{"a":1}'), chunked: true },
    { ...post('noInput', '{"a":1}'), chunked: true },
    { ...post('echoPost', '1'), version: '1.0' },
    { ...get('date'), version: '1.0' },
    { ...get('echo'), body: '{"a":1}' },
    post('noInput'),
    post('noInput', ''),
    post('echoPost', '"x"', { ...JSON_TYPE, 'content-length': '0' }),
    post('cookies', '{}'),
    post('cookies,cookies?batch=1', '{}'),
    post('status', '{}'),
    post('status,noInput?batch=1', '{}'),
    post('broken', '{}'),
    post('ended', '{}'),
    post('ended,noInput?batch=1', '{}'),
    post('echoPost', Buffer.from([0x22, 0xff, 0xc3, 0x28, 0xe2, 0x82, 0x22])),
    post('echoPost', Buffer.from([0xff, 0xfe, 0x31, 0x00])),
    post('echoPost', JSON.stringify('x'.repeat(ENOUGH - 2))),
    post('echoPost', JSON.stringify('x'.repeat(ENOUGH - 1))),
    { ...post('echoPost', JSON.stringify('x'.repeat(ENOUGH))), chunked: true },
    { ...post('noInput', JSON.stringify('x'.repeat(ENOUGH))), chunked: true },
    post('auth.login', JSON.stringify({ username: 'ada', password: PASSWORD })),
    post('auth.login', JSON.stringify({ username: 'ada', password: 'wrong' })),
    post('auth.login,noInput?batch=1', JSON.stringify({ 0: { username: 'ada', password: PASSWORD } })),
    post('auth.register', JSON.stringify({ username: 'eve', password: PASSWORD })),
    post('auth.register', JSON.stringify({ username: 'eve', password: PASSWORD })),
    post('auth.changePassword', JSON.stringify({ currentPassword: 'wrong', newPassword: PASSWORD }), { ...JSON_TYPE, cookie: 'LIVE' }),
    get('auth.sessions.list', { cookie: 'LIVE' }),
    get('auth.me', { cookie: 'LIVE' }),
    post('auth.logout', '{}', { ...JSON_TYPE, cookie: '__Host-session=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' }),
  ]
  const paths = [
    'date',
    'seen',
    'guarded',
    withInput('echo', { a: 1 }),
    'date,guarded?batch=1',
    'date,seen?batch=1',
    withInput('throws', 'auth'),
  ]
  return [
    ...odd,
    ...TARGETS.flatMap((target) => [
      get(target),
      get(target, { accept: 'application/json' }),
      get(target, { cookie: 'LIVE' }),
      post(target, '{}'),
    ]),
    ...HEADERS.flatMap((headers) => [
      ...paths.map((path) => get(path, headers)),
      ...['seenPost', 'noInput', 'guardedPost'].map((path) => post(path, '{"a":1}', { ...JSON_TYPE, ...headers })),
      post('seenPost,noInput,guardedPost?batch=1', '{"0":1,"2":{"a":1}}', { ...JSON_TYPE, ...headers }),
    ]),
    ...[{}, { accept: 'application/json' }, { 'trpc-accept': 'application/jsonl' }].flatMap((headers) => [
      ...RESULTS.split(' ').flatMap((name) => [get(withInput('result', name), headers), batchOf('result', name, headers)]),
      ...THROWN.split(' ').flatMap((name) => [get(withInput('throws', name), headers), batchOf('throws', name, headers)]),
    ]),
    ...INPUTS.flatMap((input) => [
      ...POSTED.flatMap((path) => [
        post(path, input),
        post(`${path}?batch=1`, `{"0":${input}}`),
        post(`${path},${path}?batch=1`, input, { ...JSON_TYPE, accept: 'application/json' }),
      ]),
      ...['echo', 'strict', 'seen'].flatMap((path) => [
        get(`${path}?input=${encodeURIComponent(input)}`.slice(0, 8000)),
        get(`${path},date?batch=1&input=${encodeURIComponent(input)}`.slice(0, 8000), { accept: 'application/json' }),
      ]),
    ]),
  ]
}

const batchOf = (path: string, name: string, headers: Record<string, string>) =>
  get(`date,${path}?batch=1&input=${encodeURIComponent(JSON.stringify({ 1: name }))}`, headers)

test.each(STYLES)('the direct path takes what the SDK sends, in an application that is %s', async (style) => {
  const before = twins[style].taken()
  const sent = [
    get('date'),
    get(withInput('echo', { a: 1 }), { cookie: 'LIVE' }),
    get('date,guarded?batch=1&input=%7B%7D', { cookie: 'LIVE' }),
    post('echoPost', '{"a":1}'),
    post('echoPost,noInput?batch=1', '{"0":1}', { ...JSON_TYPE, cookie: 'LIVE' }),
  ]
  for (const request of sent) await compare(style, request)
  expect(twins[style].taken() - before).toBe(sent.length)
})

test.each(STYLES)('every kind of request is answered to the byte as by tRPC alone, in an application that is %s', async (style) => {
  for (const request of byHand()) await compare(style, request)
})

test.each(['waits', 'waits,waits?batch=1'])('a procedure hears alike of a caller that leaves: %s', async (target) => {
  const before = twins.ours.taken()
  const { ours, trpcs } = await twins.ours.leave(get(target))
  expect(ours).toEqual(trpcs)
  expect(ours).toContainEqual([true, 'AbortError: This operation was aborted'])
  expect(twins.ours.taken() - before).toBe(1)
})

const names = ['date', 'seen', 'echo', 'strict', 'result', 'throws', 'guarded', 'nested.deeper.date', 'badOutput', 'auth.me', 'own']
const mutations = ['echoPost', 'strictPost', 'seenPost', 'noInput', 'guardedPost', 'void', 'twice', 'cookies', 'status', 'auth.logout']
const odd = ['ticks', 'nope', 'later.date', '', 'a b', 'ü', '__proto__', 'auth.login']
const input = fc.oneof(
  fc.constantFrom(...INPUTS),
  fc.constantFrom(...RESULTS.split(' '), ...THROWN.split(' ')).map((name) => JSON.stringify(name)),
  fc.jsonValue().map((value) => JSON.stringify(value)),
  fc.jsonValue().map((json) => JSON.stringify({ json })),
  fc.dictionary(fc.constantFrom('0', '1', '2', '-1', '__proto__'), fc.jsonValue()).map((inputs) => JSON.stringify(inputs)),
  fc.string({ unit: 'binary' }),
)
const headers = fc
  .array(fc.constantFrom({}, { cookie: 'LIVE' }, { accept: 'application/json' }, ...HEADERS), { maxLength: 3 })
  .map((some) => Object.assign({}, ...some) as Record<string, string>)
const pathOf = (known: string[]) =>
  fc.array(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...known) }, fc.constantFrom(...known, ...odd)), { minLength: 1, maxLength: 4 })
const search = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.constant('batch=1') },
    { weight: 4, arbitrary: input.map((text) => `input=${encodeURIComponent(text.toWellFormed())}`) },
    fc.constantFrom('batch=0', 'x=1', '', 'input', 'batch', 'input=%', 'connectionParams=null'),
    fc.string({ unit: 'binary-ascii' }).map((text) => `input=${text.replace(/[^!-~]/g, '')}`),
  ),
  { maxLength: 3 },
)
const generated = fc.record({
  style: fc.constantFrom(...STYLES),
  request: fc.oneof(
    fc.record({ names: pathOf(names), search, headers }).map(({ names, search, headers }) => get(targetOf(names, search), headers)),
    fc
      .record({ names: pathOf(mutations), search, headers, body: input, chunked: fc.constantFrom(false, false, false, true) })
      .map(({ names, search, headers, body, chunked }) => ({
        ...post(targetOf(names, search), body.toWellFormed(), { ...JSON_TYPE, ...headers }),
        chunked,
      })),
  ),
})

function targetOf(names: string[], search: string[]): string {
  const path = names.map((name) => encodeURIComponent(name)).join(',')
  return `${path}${search.length === 0 ? '' : `?${search.join('&')}`}`.slice(0, 8100)
}

test(`${RUNS} generated requests are answered to the byte as by tRPC alone`, { timeout: 60 * 60_000 }, async () => {
  const lanes = STYLES.map((style) => fc.sample(generated, RUNS).filter((made) => made.style === style))
  await Promise.all(
    lanes.map(async (made, lane) => {
      for (const { style, request } of made.slice(0, Math.ceil(RUNS / lanes.length) + lane)) await compare(style, request)
    }),
  )
})
