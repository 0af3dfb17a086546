import { oidc } from '@trpc-login/server/providers'
import { expect, test } from 'vitest'
import { createClientAddress } from '../../server/src/address.ts'
import { readToken, SESSION_COOKIE } from '../../server/src/cookies.ts'
import { decodeCursor } from '../../server/src/cursors.ts'
import { readForeignHash } from '../../server/src/foreign-hashes.ts'
import {
  canonicalEmail,
  emailSchema,
  identifierSchema,
  nameSchema,
  roleSchema,
  usernameKey,
  usernameSchema,
} from '../../server/src/identifiers.ts'
import { readIssues, withoutValues } from '../../server/src/issues.ts'
import { isAllowedOrigin } from '../../server/src/origin.ts'
import { requireStrongPassword } from '../../server/src/password-rules.ts'
import { passwordSchema } from '../../server/src/password-schema.ts'
import { safeReturnTo } from '../../server/src/return-to.ts'
import { transformer } from '../../server/src/transformer.ts'
import { cpuOf, cpuOfAsync } from '../support/cost.ts'
import { createRawCaller, type RawRequest } from '../support/raw-http.ts'
import { startServer } from '../support/server.ts'
import { HEADERS, MARKS, music, of, type Texts, WORDS } from '../support/texts.ts'

const HEAD = 16 * 1024
const BODY = 64 * 1024
// A request may cost the event loop 5 ms; a loaded machine and its caches may make that a few times as much.
const MOST_MS = 20
// Twice the text, twice the work; four times would be quadratic.
const MOST_RATIO = 3.2
// Below this it does not matter how a cost grows: the text cannot.
const CHEAP_MS = 1.5
// What a request costs apart from its text differs by so much.
const MEASURABLE_MS = 5

interface Reader {
  readonly name: string
  /** The longest text that a caller can get this far. */
  readonly limit: number
  readonly texts: Texts
  read(text: string): unknown
}

/** What a reader says of a text is for other tests. */
const quietly =
  <T>(read: (text: string) => T) =>
  (text: string) => {
    try {
      return read(text)
    } catch {
      return undefined
    }
  }

const OWNER = { username: 'ada.lovelace', email: 'countess@example.com' }
const behindProxy = createClientAddress(['10.0.0.0/8'])
const HASHES = [
  '$2b$12$',
  'pbkdf2:sha256:600000$',
  'scrypt:32768:8:1$',
  'pbkdf2_sha256$600000$',
  '$argon2id$v=19$m=19456,t=2,p=1$',
  '$scrypt$ln=15,r=8,p=1$',
]
const refused = (length: number) =>
  Array.from({ length: length / 32 }, (_, i) => ({ path: ['list', i], message: 'Invalid input: expected string' }))

const READERS: Reader[] = [
  {
    name: 'cookie',
    limit: HEAD,
    texts: {
      blanks: of(' ', { before: '__Host-session=x', after: 'x' }),
      tabs: of('\t', { before: '__Host-session=x', after: 'x' }),
      'blanks before the name': of(' ', { before: 'x', after: '__Host-session=' }),
      semicolons: of(';', { before: '__Host-session=x' }),
      'equals signs': of('=', { before: '__Host-session' }),
      'almost names': of('__Host-sessio', { after: '__Host-session=' }),
      'many of them': of('__Host-session=a; '),
      'others first': of('a=b; ', { after: '__Host-session=' }),
    },
    read: (text) => readToken(text, SESSION_COOKIE),
  },
  {
    name: 'x-forwarded-for',
    limit: HEAD,
    texts: {
      ...HEADERS,
      'blanks between digits': of(' ', { before: '1', after: '1' }),
      'trusted hops': of('10.0.0.1,'),
      'trusted hops with ports': of('"[::ffff:10.0.0.1]:65535",'),
      brackets: of('['),
      digits: of('1'),
      'dots and digits': of('1.'),
      colons: of(':'),
    },
    read: (text) => behindProxy('10.0.0.1', text),
  },
  {
    name: 'origin',
    limit: HEAD,
    texts: HEADERS,
    read: (text) => isAllowedOrigin({ origin: text, host: text, fetchSite: text }, new Set(['https://a'])),
  },
  ...Object.entries({ usernameSchema, emailSchema, nameSchema, identifierSchema, roleSchema, passwordSchema }).map(([name, schema]) => ({
    name,
    limit: BODY,
    texts: WORDS,
    read: (text: string) => schema.safeParse(text),
  })),
  { name: 'usernameKey', limit: 256, texts: WORDS, read: usernameKey },
  { name: 'canonicalEmail', limit: BODY, texts: WORDS, read: canonicalEmail },
  {
    name: 'a new password',
    limit: 1024,
    texts: {
      ...MARKS,
      'music that grows': music(256, 6),
      'as much music as is judged': music(85, 3),
      'rows of keys': (length) => of('qwertyuiop', { after: 'x' })(length / 4),
      'one letter': (length) => of('a', { after: 'b' })(length / 4),
      'two letters': (length) => of('ab', { after: 'aa' })(length / 4),
      'common words': (length) => of('passwordsunshine', { after: '!' })(length / 4),
      'own name': (length) => of('ada.lovelac', { after: 'x' })(length / 4),
    },
    read: quietly((text) => requireStrongPassword(text, { minLength: 15, contextWords: ['initech'] }, OWNER)),
  },
  {
    name: 'returnTo',
    limit: 8192,
    texts: {
      ...WORDS,
      dots: of('../', { before: '/' }),
      'dots within the limit': (length) => of('/..')(length / 5),
      percents: of('%2', { before: '/' }),
      slashes: of('/'),
    },
    read: safeReturnTo,
  },
  {
    name: 'a cursor',
    limit: 1000,
    texts: { letters: of('a'), 'a deep list': (length) => Buffer.from('['.repeat(length * 0.7)).toString('base64url') },
    read: quietly((text) => decodeCursor(text, ['id'])),
  },
  {
    name: 'a hash of another system',
    limit: BODY,
    texts: {
      ...Object.fromEntries(
        HASHES.map((prefix) => [`${prefix} and salt`, (length: number) => of('a', { before: prefix })(Math.min(length, length / 128))]),
      ),
      dollars: (length) => of('$')(length / 128),
      letters: of('a'),
      'hexadecimal digits': (length) => of('0', { after: 'x' })(length / 128),
    },
    read: readForeignHash,
  },
  {
    name: 'an input',
    limit: BODY,
    texts: {
      'one text': of('a', { before: '"', after: '"' }),
      escapes: (length) => of('\\u0001', { before: '"' })(length - (length % 6)) + '"',
      numbers: (length) => `[${fillWith(length, 7, () => '1.5e+10')}]`,
      'empty lists': (length) => `[${fillWith(length, 8, () => '[[[]]]')}]`,
      keys: (length) => `{${fillWith(length, 11, (i) => `"k${i}":1`)}}`,
      'long keys': (length) => `{"${'k'.repeat(length / 2)}":[${fillWith(length / 2, 2, () => '1')}]}`,
      'one number': of('9'),
      dates: (length) => envelope(length, (i) => [`"${new Date(i).toISOString()}"`, '["Date"]'], 42),
      integers: (length) => envelope(length, () => [`"${'9'.repeat(2000)}"`, '["bigint"]'], 2020),
      addresses: (length) => envelope(length, () => [`"https://a/${'%'.repeat(500)}"`, '["URL"]'], 530),
      errors: (length) => envelope(length, () => ['{"name":"E","message":"m"}', '["Error"]'], 44),
      maps: (length) => envelope(length, () => ['[[1,2],[3,4],[5,6]]', '["map"]'], 40),
    },
    read: quietly((text) => transformer.input.deserialize(JSON.parse(text))),
  },
  {
    name: 'what a validator says',
    limit: BODY,
    texts: { 'one letter': of('a'), 'values that are almost there': of('a9b') },
    read: (text) => [
      readIssues(refused(text.length), { list: [text] }),
      withoutValues(
        text.slice(0, 2000),
        Array.from({ length: 1000 }, (_, i) => `a${i}`),
      ),
    ],
  },
]

function fillWith(length: number, each: number, item: (index: number) => string): string {
  return Array.from({ length: length / each }, (_, index) => item(index)).join()
}

function envelope(length: number, item: (index: number) => [string, string], each: number): string {
  const items = Array.from({ length: Math.min(990, length / each) }, (_, index) => item(index))
  return `{"json":[${items.map(([raw]) => raw).join()}],"meta":{"values":{${items.map(([, type], i) => `"${i}":${type}`).join()}},"v":1}}`
}

const PROVIDER = oidc({ id: 'idp', name: 'IdP', issuer: 'https://127.0.0.1:1', clientId: 'app', clientSecret: 'secret' })
const HEADER_NAMES = [
  'accept',
  'authorization',
  'content-type',
  'cookie',
  'last-event-id',
  'origin',
  'sec-fetch-site',
  'trpc-accept',
  'user-agent',
  'x-forwarded-for',
]
const TARGETS: Texts = {
  'a batch of names': of('a,', { before: '/api/', after: 'a?batch=1' }),
  'a batch of procedures': of('open,', { before: '/api/', after: 'open?batch=1' }),
  'a name in escapes': of('%61', { before: '/api/' }),
  dots: of('../', { before: '/api/' }),
  parameters: of('a&', { before: '/api/open?' }),
  'half escapes': of('%', { before: '/api/open?input=' }),
  'an input': of('%5B', { before: '/api/open?input=' }),
  'parameters of a connection': of('%7B', { before: '/api/open?connectionParams=' }),
  'what a provider sends': of('a&', { before: '/oauth/idp/callback?' }),
  'an error that a provider sends': of('<', { before: '/oauth/idp/callback?error=' }),
}
const json = (path: string, body: string): RawRequest => ({
  method: 'POST',
  target: `/api/${path}`,
  headers: { 'content-type': 'application/json' },
  body,
})
const inField = (path: string, fields: Record<string, unknown>, field: string) => (text: string) =>
  json(path, JSON.stringify({ ...fields, [field]: text }))
const GOOD = { username: 'eve', password: 'correct horse battery', email: 'eve@example.com', name: 'Eve' }
const FIELDS = {
  'the name of a login': inField('auth.login', { password: GOOD.password }, 'username'),
  'the password of a login': inField('auth.login', { username: 'eve' }, 'password'),
  ...Object.fromEntries(Object.keys(GOOD).map((field) => [`the ${field} of a sign-up`, inField('auth.register', GOOD, field)])),
  'the token of a reset': inField('auth.resetPassword', { newPassword: GOOD.password }, 'token'),
  'where to come back to': inField('auth.oauth.begin', { provider: 'nobody' }, 'returnTo'),
  'a provider': inField('auth.oauth.begin', {}, 'provider'),
}

/** Whatever an anonymous caller writes, as requests of any length. */
function* requests(): Generator<[name: string, limit: number, make: (length: number) => RawRequest]> {
  for (const name of HEADER_NAMES)
    for (const [text, make] of Object.entries(HEADERS))
      yield [`${name}: ${text}`, HEAD - 600, (length) => ({ target: '/api/auth.me', headers: { [name]: make(length) } })]
  yield [
    'many headers',
    HEAD - 1000,
    (length) => ({ target: '/api/auth.me', headers: Object.fromEntries(Array.from({ length: length / 14 }, (_, i) => [`x-${i}`, 'a'])) }),
  ]
  yield ['host', HEAD - 600, (length) => ({ target: '/api/auth.me', headers: { host: of('a.', { after: 'a' })(length) } })]
  for (const [text, make] of Object.entries(TARGETS)) yield [text, 8192, (length) => ({ target: make(length) })]
  for (const [name, make] of Object.entries(FIELDS))
    for (const [text, grow] of Object.entries(WORDS)) yield [`${name}: ${text}`, BODY / 3 - 200, (length) => make(grow(length))]
  yield ['keys that nobody knows', BODY - 100, (length) => json('auth.login', `{${fillWith(length, 11, (i) => `"k${i}":1`)}}`)]
  yield [
    'parameters of a sign-in',
    BODY - 200,
    (length) => json('auth.oauth.finish', `{"provider":"idp","parameters":{${fillWith(length, 11, (i) => `"k${i}":""`)}}}`),
  ]
  yield ['a list that is no object', BODY - 100, (length) => json('notauthFunc', `[${fillWith(length, 2, () => '1')}]`)]
  yield [
    'values that are no text',
    BODY - 200,
    (length) => json('auth.oauth.finish', `{"provider":"idp","parameters":{${fillWith(length, 11, (i) => `"k${i}":1`)}}}`),
  ]
  yield ['an open input', BODY - 100, (length) => json('notauthFunc', `{"a":[${fillWith(Math.min(length, 19_000), 2, () => '1')}]}`)]
  yield ['bytes that are no text', BODY - 100, (length) => ({ ...json('notauthFunc', ''), body: Buffer.alloc(length, 0xff) })]
  yield ['a body in chunks', BODY - 100, (length) => ({ ...json('notauthFunc', `{"a":"${'a'.repeat(length - 8)}"}`), chunked: true })]
}

const table: Record<string, unknown>[] = []

for (const { name, limit, texts, read } of READERS) {
  test.each(Object.entries(texts))(`IN-8: ${name} is read in linear time at its limit: %s`, (of, make) => {
    const [halfText, wholeText] = [make(limit / 2), make(limit)]
    const half = cpuOf(() => read(halfText))
    const whole = cpuOf(() => read(wholeText))
    table.push({
      reader: name,
      text: of,
      length: wholeText.length,
      'half ms': half,
      'whole ms': whole,
      ratio: Number((whole / half).toFixed(2)),
    })
    expect(whole).toBeLessThan(MOST_MS)
    if (whole > CHEAP_MS) expect(whole / half).toBeLessThan(MOST_RATIO)
  })
}

test('IN-8: no header, address or body costs a request more than its length', { timeout: 120_000 }, async () => {
  await using server = await startServer({ registration: 'open', trustedProxies: ['127.0.0.1'], providers: [PROVIDER] })
  const { call, close } = createRawCaller(server)
  const costOf = (request: RawRequest) => cpuOfAsync(() => call(request), 10)
  await costOf({ target: '/api/open' })
  const base = await costOf({ target: '/api/open' })
  for (const [name, limit, make] of requests()) {
    const half = Math.max(0, (await costOf(make(limit / 2))) - base)
    const whole = Math.max(0, (await costOf(make(limit))) - base)
    table.push({
      reader: 'a request',
      text: name,
      length: limit,
      'half ms': half,
      'whole ms': whole,
      ratio: Number((whole / half).toFixed(2)),
    })
    expect([name, whole < MOST_MS, whole < MEASURABLE_MS || whole / half < MOST_RATIO]).toEqual([name, true, true])
  }
  close()
  expect(server.lines.filter(({ level }) => level === 'error')).toEqual([])
})

test.runIf(process.env['COSTS'] !== undefined)('the table', () => console.table(table))
