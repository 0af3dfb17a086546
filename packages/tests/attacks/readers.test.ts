import { expect, test } from 'vitest'
import { createClientAddress } from '../../server/src/address.ts'
import { readToken, SESSION_COOKIE } from '../../server/src/cookies.ts'
import {
  canonicalEmail,
  emailSchema,
  identifierSchema,
  nameSchema,
  roleSchema,
  usernameKey,
  usernameSchema,
} from '../../server/src/identifiers.ts'
import { requireStrongPassword } from '../../server/src/password-rules.ts'
import { passwordSchema } from '../../server/src/password-schema.ts'
import { cpuOf } from '../support/cost.ts'

const HEADERS = 16 * 1024
const BODY = 64 * 1024
// A request may cost the event loop 5 ms; a loaded machine and its caches may make that a few times as much.
const MOST_MS = 20
// Twice the text, twice the work; four times would be quadratic.
const MOST_RATIO = 3.2
// Below this it does not matter how a cost grows: the text cannot.
const CHEAP_MS = 0.5

interface Reader {
  readonly name: string
  /** The longest text that a caller can get this far. */
  readonly limit: number
  /** The worst texts known, as long as asked for. */
  readonly texts: Readonly<Record<string, (length: number) => string>>
  read(text: string): unknown
}

const fill = (unit: string, length: number) => unit.repeat(Math.ceil(length / unit.length)).slice(0, length)
const of =
  (unit: string, { before = '', after = '' } = {}) =>
  (length: number) =>
    `${before}${fill(unit, length - before.length - after.length)}${after}`

const OWNER = { username: 'ada.lovelace', email: 'countess@example.com' }
const judge = (password: string) => {
  try {
    requireStrongPassword(password, { minLength: 15, contextWords: ['initech'] }, OWNER)
  } catch {
    // The verdict is for other tests.
  }
}
/** Notes that NFC takes apart into up to three characters, in an order without period. */
const music = (notes: number, kinds: number) => (length: number) => {
  let state = 1
  return Array.from({ length: (notes * length) / 1024 }, () => {
    state = (state * 1103515245 + 12345) % 2 ** 31
    return String.fromCodePoint(0x1d15f + ((state >> 16) % kinds))
  }).join('')
}
/** Runs of marks are what Unicode has to sort, in quadratic time. */
const MARKS = { marks: of('\u0315\u0300', { before: 'a' }), 'marks that are two': of('\u0344', { before: 'a' }) }
const SCHEMA_TEXTS = {
  ...MARKS,
  letters: of('a'),
  'letters that grow': of('\ufdfa'),
  blanks: of(' ', { before: 'a', after: 'a' }),
  'at signs': of('@'),
  'half an address': of('a.', { before: 'a@' }),
  'dots at the end': of('.', { before: 'a@a', after: '@' }),
  astral: of('\u{1d15f}\u{1d160}'),
}

const READERS: Reader[] = [
  {
    name: 'cookie',
    limit: HEADERS,
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
    limit: HEADERS,
    texts: {
      commas: of(','),
      blanks: of(' ', { before: '1', after: '1' }),
      'trusted hops': of('10.0.0.1,'),
      quotes: of('"'),
      brackets: of('['),
      digits: of('1'),
      'dots and digits': of('1.'),
      colons: of(':'),
      'long mapped': of('::ffff:10.0.0.1,'),
    },
    read: (() => {
      const find = createClientAddress(['10.0.0.0/8'])
      return (text: string) => find('10.0.0.1', text)
    })(),
  },
  ...Object.entries({ usernameSchema, emailSchema, nameSchema, identifierSchema, roleSchema, passwordSchema }).map(([name, schema]) => ({
    name,
    limit: BODY,
    texts: SCHEMA_TEXTS,
    read: (text: string) => schema.safeParse(text),
  })),
  { name: 'usernameKey', limit: 256, texts: SCHEMA_TEXTS, read: usernameKey },
  { name: 'canonicalEmail', limit: BODY, texts: SCHEMA_TEXTS, read: canonicalEmail },
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
    read: judge,
  },
]

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
      half: half.toFixed(3),
      whole: whole.toFixed(3),
      ratio: (whole / half).toFixed(2),
    })
    expect(whole).toBeLessThan(MOST_MS)
    if (whole > CHEAP_MS) expect(whole / half).toBeLessThan(MOST_RATIO)
  })
}

test.runIf(process.env['COSTS'] !== undefined)('the table', () => console.table(table))
