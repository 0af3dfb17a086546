import { TRPCError } from '@trpc/server'
import { AuthError, createAuth, formatAuthError, silentLog, sqliteStorage } from '@trpc-login/server'
import { ConfigError, loadConfig } from '@trpc-login/server/config'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { addressBucket, createClientAddress } from '../../server/src/address.ts'
import { clearedSessionCookie, readToken, SESSION_COOKIE, sessionCookie } from '../../server/src/cookies.ts'
import { canonicalEmail, usernameKey, usernameSchema } from '../../server/src/identifiers.ts'
import { isAllowedOrigin, parseOrigin } from '../../server/src/origin.ts'
import { safeReturnTo } from '../../server/src/return-to.ts'
import { hashToken, isToken, newId, newToken } from '../../server/src/tokens.ts'

// A variable, because the compiler looks for a file of that name.
const COPY: string = '../../server/src/errors.ts?copy'

test('an AuthError is known by another copy of the package and of tRPC, and a class derived from it by its own alone', async () => {
  const copy = (await import(COPY)) as typeof import('../../server/src/errors.ts')
  class Derived extends AuthError {}
  expect(copy.AuthError).not.toBe(AuthError)
  const error = new copy.AuthError('conflict', { message: 'Taken' })
  expect([error instanceof AuthError, error.name, error instanceof Derived, new Derived('conflict') instanceof Derived]).toEqual([
    true,
    'TRPCError',
    false,
    true,
  ])
  expect([new Error('x'), new TRPCError({ code: 'CONFLICT' }), null, 'x', {}].some((other) => other instanceof AuthError)).toBe(false)
  const shape = { message: '', code: -32009, data: { code: 'CONFLICT', httpStatus: 409 } } as const
  expect(formatAuthError({ shape, error })).toMatchObject({ message: 'Taken', data: { reason: 'conflict' } })
  const wrapped = new TRPCError({ code: 'CONFLICT', cause: error })
  expect(formatAuthError({ shape, error: wrapped })).toMatchObject({ message: 'Taken', data: { reason: 'conflict' } })
  const own = new TRPCError({ code: 'CONFLICT', message: 'In words of its own', cause: error })
  expect(formatAuthError({ shape, error: own }).message).toBe('In words of its own')
})

describe('where to go after a sign-in', () => {
  test.each(['/', '/a', '/a/b?c=d&e=%20f#g', '/ünï', '/a..b', '/.well-known/x'])('OA-8: %s is a path of our own', (path) => {
    const { pathname, search, hash } = new URL(path, 'https://x')
    expect(safeReturnTo(path)).toBe(`${pathname}${search}${hash}`)
  })

  test.each([
    undefined,
    '',
    'a',
    '//evil.example',
    '///evil.example',
    '/\\evil.example',
    '\\\\evil.example',
    '/\t/evil.example',
    '/\n/evil.example',
    '\t//evil.example',
    ' //evil.example',
    '/..//evil.example',
    '/%2fevil.example',
    '/%5Cevil.example',
    '/%0d%0aLocation:x',
    '/@evil.example',
    'https://evil.example',
    'https:evil.example',
    'javascript:alert(1)',
    '/a\u{202e}b',
    `/${'a'.repeat(2000)}`,
  ])('OA-8: %j is not, and becomes /', (path) => {
    expect(safeReturnTo(path)).toBe('/')
  })

  test('OA-8: whatever is given, a browser stays at our origin', () => {
    const piece = fc.constantFrom(
      '/',
      '\\',
      '.',
      '..',
      '@',
      ':',
      '%2f',
      '%5c',
      '%09',
      '\t',
      '\n',
      ' ',
      '?',
      '#',
      'evil.example',
      'https:',
      'a',
      '\u3002',
      '／',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.array(piece).map((parts) => `/${parts.join('')}`),
          fc.string(),
        ),
        (text) => {
          expect(new URL(safeReturnTo(text), 'https://own.example/oauth/x/callback').origin).toBe('https://own.example')
        },
      ),
      { numRuns: 5000 },
    )
  })
})

describe('tokens', () => {
  test('SS-1: tokens are 43 base64url characters and never repeat', () => {
    const tokens = Array.from({ length: 1000 }, newToken)
    expect(new Set(tokens).size).toBe(1000)
    expect(tokens.every(isToken)).toBe(true)
    expect(hashToken(tokens[0] ?? '')).toHaveLength(32)
  })

  test('ids sort in the order of their making, within one millisecond too', () => {
    const ids = Array.from({ length: 500 }, (_, index) => newId(1_800_000_000_000 + Math.floor(index / 100)))
    expect(ids.toSorted()).toEqual(ids)
    expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  })
})

describe('cookies', () => {
  test('what is written is read back, among others too', () => {
    const token = newToken()
    const pair = sessionCookie(token, null).split(';', 1)[0] ?? ''
    expect(readToken(pair, SESSION_COOKIE)).toBe(token)
    expect(readToken(`a=b; ${pair};c=d`, SESSION_COOKIE)).toBe(token)
    expect(readToken(clearedSessionCookie().split(';', 1)[0], SESSION_COOKIE)).toBe(null)
  })

  test('SS-6: no header makes the reader throw or accept anything but one well-formed value', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string(), fc.constant('__Host-session='), fc.constant(`__Host-session=${'A'.repeat(43)}`))),
        (parts) => {
          const token = readToken(parts.join('; '), SESSION_COOKIE)
          expect(token === null || isToken(token)).toBe(true)
        },
      ),
    )
    expect(readToken(undefined, SESSION_COOKIE)).toBe(null)
  })
})

describe('identifiers', () => {
  test.each(['ada', 'Ada.L-2_x', 'Страна', '田中', 'é', 'विद्या', 'a'.repeat(64)])('%s is a username', (name) => {
    expect(usernameSchema.safeParse(name).success).toBe(true)
  })

  test.each(['', ' ', 'a b', 'a@b', 'a/b', '😀', 'a\u0000', '\u0301a', 'a'.repeat(65), 'a\u200db', '<b>', "x'--", '\ud800'])(
    '%j is no username',
    (name) => {
      expect(usernameSchema.safeParse(name).success).toBe(false)
    },
  )

  test('folding is stable and joins spellings of one name', () => {
    expect(usernameKey('ＡＤＡ')).toBe('ada')
    expect(usernameKey('Straße')).toBe(usernameKey('STRASSE'))
    expect(usernameKey('ΣΑΣ')).toBe(usernameKey('σασ'))
    fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (name) => usernameKey(usernameKey(name)) === usernameKey(name)))
  })

  test('LG-4: addresses are normalised before they are checked', () => {
    expect(canonicalEmail('Ada@Example.COM')).toBe('ada@example.com')
    for (const bad of [
      'a＠evil.com@b.com',
      'a@b@c',
      'a,b@c.d',
      '"a"@b.c',
      'a b@c.d',
      'a@',
      '@b',
      'a@b\n.c',
      `${'a'.repeat(250)}@b.cc`,
      'a<b>@c.d',
    ]) {
      expect([bad, canonicalEmail(bad)]).toEqual([bad, null])
    }
  })
})

describe('origins', () => {
  const allowed = new Set(['https://app.example.com'])
  const asks = (origin?: string, fetchSite?: string, host = 'api.example.com:8443') => isAllowedOrigin({ origin, fetchSite, host }, allowed)

  test('CS-2: same, listed and absent pass; look-alikes do not', () => {
    expect([asks(), asks('https://api.example.com:8443'), asks('https://app.example.com'), asks(undefined, 'same-origin')]).toEqual([
      true,
      true,
      true,
      true,
    ])
    const refused = [
      'null',
      '',
      'https://api.example.com',
      'http://api.example.com:8443',
      'https://app.example.com.evil',
      'https://app.example.com:444',
      'https://APP.example.com',
      'https://evil/https://app.example.com',
    ]
    expect(refused.filter((origin) => asks(origin))).toEqual([])
    expect([asks(undefined, 'cross-site'), asks(undefined, 'same-site'), asks(undefined, 'nonsense')]).toEqual([false, false, false])
  })

  test('an origin in a list is exact', () => {
    expect(parseOrigin('https://a.example')).toBe('https://a.example')
    for (const bad of ['a.example', 'http://a.example', 'https://a.example/path', 'https://*.example', 'https://u@a.example', '*', '']) {
      expect(() => parseOrigin(bad)).toThrow(TypeError)
    }
  })
})

describe('client addresses', () => {
  test('RL-5: forwarded addresses are believed from trusted proxies alone, right to left', () => {
    const direct = createClientAddress([])
    expect(direct('203.0.113.9', '1.2.3.4')).toBe('203.0.113.9')
    expect(direct('::ffff:203.0.113.9', undefined)).toBe('203.0.113.9')
    expect(direct(undefined, '1.2.3.4')).toBe(null)
    const proxied = createClientAddress(['10.0.0.0/8', '::1'])
    expect(proxied('10.0.0.1', '6.6.6.6, 203.0.113.9')).toBe('203.0.113.9')
    expect(proxied('10.0.0.1', '6.6.6.6, 203.0.113.9, 10.9.9.9')).toBe('203.0.113.9')
    expect(proxied('10.0.0.1', 'nonsense')).toBe('10.0.0.1')
    expect(proxied('203.0.113.9', '10.0.0.1')).toBe('203.0.113.9')
    expect(proxied('::1', '2001:db8::1')).toBe('2001:db8::1')
  })

  test.each([
    '::ffff:198.51.100.7',
    '0:0:0:0:0:ffff:198.51.100.7',
    '::ffff:c633:6407',
    '::FFFF:C633:6407',
    '0000:0000:0000:0000:0000:ffff:c633:6407',
  ])('RL-5: %s is 198.51.100.7, wherever addresses are compared', (mapped) => {
    expect(addressBucket(mapped)).toBe('198.51.100.7')
    expect(createClientAddress([])(mapped, undefined)).toBe('198.51.100.7')
    expect(createClientAddress(['198.51.100.0/24'])(mapped, '203.0.113.9')).toBe('203.0.113.9')
    expect(createClientAddress([mapped])('198.51.100.7', '203.0.113.9')).toBe('203.0.113.9')
    expect(createClientAddress([`${mapped}/120`])('198.51.100.200', mapped)).toBe('198.51.100.7')
    expect(createClientAddress([`${mapped}/120`])('198.51.101.7', '203.0.113.9')).toBe('198.51.101.7')
  })

  test('RL-5: an IPv6 customer is one bucket, however an address is written, and others are others', () => {
    const same = ['2001:db8:1:2::7', '2001:0DB8:0001:0002:ffff:ffff:ffff:ffff', '2001:db8:1:2:0:0:1.2.3.4']
    expect(new Set(same.map(addressBucket)).size).toBe(1)
    expect(addressBucket('2001:db8:1:3::7')).not.toBe(addressBucket('2001:db8:1:2::7'))
    expect(addressBucket('::1')).not.toBe(addressBucket('127.0.0.1'))
    expect(addressBucket('fe80::1%eth0')).toBe(addressBucket('fe80::2'))
    for (const none of [null, '', 'unknown', '198.51.100.7:80', '::ffff:198.51.100.256']) expect(addressBucket(none)).toBe('none')
  })

  test.each([
    ['198.51.100.7:40001', '198.51.100.7'],
    ['[2001:db8::7]:40001', '2001:db8::7'],
    ['[2001:DB8:0:0::7]', '2001:db8::7'],
    ['[::ffff:c633:6407]:1', '198.51.100.7'],
    ['"198.51.100.7:40001"', '198.51.100.7'],
    ['"[2001:db8::7]:40001"', '2001:db8::7'],
    [' \t 198.51.100.7 \t ', '198.51.100.7'],
    ['203.0.113.9,198.51.100.7', '198.51.100.7'],
    ['203.0.113.9, 198.51.100.7:1, 10.0.0.9:2', '198.51.100.7'],
    ['203.0.113.9 , "[::ffff:10.0.0.9]:3"', '203.0.113.9'],
  ])('RL-5: X-Forwarded-For: %s, as gateways write it, names %s', (header, caller) => {
    expect(createClientAddress(['10.0.0.0/8'])('10.0.0.1', header)).toBe(caller)
  })

  test.each(['unknown', '_hidden', '', ',', '198.51.100.7:', '198.51.100.7:x', '[198.51.100.7', '[2001:db8::7]x', '198.51.100.7 x', '"'])(
    'RL-5: X-Forwarded-For: %j names nobody, and the proxy counts',
    (header) => {
      expect(createClientAddress(['10.0.0.0/8'])('10.0.0.1', header)).toBe('10.0.0.1')
    },
  )

  test.each(['10.0.0.0/33', 'nonsense', '10.0.0.0/8/8', '::1/129', '', '10.0.0.0/'])('a bad range is refused: %s', (range) => {
    expect(() => createClientAddress([range])).toThrow(TypeError)
  })
})

describe('errors', () => {
  const shape = { message: 'm', code: 1, data: { code: 'INTERNAL_SERVER_ERROR' as const, httpStatus: 500, path: 'p', stack: 'secret' } }

  test('IN-4: whatever else is in the shape does not leave, and unexpected messages are masked', () => {
    const masked = formatAuthError({ shape, error: new TRPCError({ code: 'INTERNAL_SERVER_ERROR', message: 'db password is hunter2' }) })
    expect(masked).toEqual({
      message: 'Internal server error',
      code: 1,
      data: { code: 'INTERNAL_SERVER_ERROR', httpStatus: 500, path: 'p', reason: null, requestId: null },
    })
  })

  test('an AuthError keeps its reason, message and wait', () => {
    const formatted = formatAuthError({ shape, error: new AuthError('rate_limited', { retryAfter: 7 }) })
    expect(formatted.data).toMatchObject({ reason: 'rate_limited', retryAfter: 7 })
  })
})

const make = (options: object) => () => createAuth({ log: silentLog, storage: sqliteStorage({ path: ':memory:' }), ...options })

describe('options', () => {
  test.each([
    [{ session: { idleMs: -1 } }, 'session.idleMs must be a positive whole number, got -1'],
    [{ session: { rememberedAbsoluteMs: 31 * 86_400_000 } }, 'session.rememberedAbsoluteMs must be at most 30 days'],
    [{ password: { minLength: 7 } }, 'password.minLength must be 8 to 64, got 7'],
    [{ password: { memoryKiB: 4096 } }, 'password.memoryKiB must be at least 19456, got 4096'],
    [{ password: { iterations: 1 } }, 'password.iterations must be at least 2, got 1'],
    [{ baseUrl: 'http://app.example.com' }, 'baseUrl must be an https origin such as https://app.example.com, got http:'],
    [{ appUrl: 'app.example.com' }, 'appUrl must be an https origin'],
    [{ registration: 'maybe' }, 'registration must be open or closed, got maybe'],
    [{ sesion: {} }, 'unknown option sesion'],
    [{ trustedProxies: ['x'] }, 'a trusted proxy is an address or a CIDR'],
  ])('PW-4: %j is refused and named', (options, message) => {
    expect(make(options)).toThrow(message)
  })
})

const APPLE_WITHOUT_KEY = '[{"provider":"apple","clientId":"a","teamId":"t","keyId":"k","privateKey":"p"}]'

describe('configuration', () => {
  test('providers are made from a JSON list, each with what it needs', () => {
    const list = [
      ...['google', 'github', 'kakao', 'naver', 'line'].map((provider) => ({ provider, clientId: 'a', clientSecret: 'b' })),
      { provider: 'microsoft', clientId: 'a', clientSecret: 'b', tenant: 't', registration: 'open' },
      { provider: 'oidc', id: 'company', name: 'Company', issuer: 'https://login.example.com', clientId: 'a', clientSecret: 'b' },
    ]
    const { providers } = loadConfig({ TRPC_LOGIN_PROVIDERS: JSON.stringify(list) }).auth
    expect(providers.map(({ id }) => id)).toEqual(['google', 'github', 'kakao', 'naver', 'line', 'microsoft', 'company'])
    expect(providers.map(({ registration }) => registration).filter((value) => value !== null)).toEqual(['open'])
    expect(() => createAuth({ storage: sqliteStorage({ path: ':memory:' }), providers: [...providers, ...providers] })).toThrow(
      'ids that differ',
    )
  })

  test('defaults stand where nothing is set', () => {
    expect(loadConfig({ OTHER: 'x' })).toMatchObject({
      auth: { registration: 'closed', trustedProxies: [], providers: [] },
      server: { host: '127.0.0.1', port: 8443, origins: [] },
    })
  })

  test.each([
    [{ TRPC_LOGIN_PROT: '1' }, 'TRPC_LOGIN_PROT is not a setting; known are TRPC_LOGIN_HOST'],
    [{ TRPC_LOGIN_PORT: '70000' }, 'TRPC_LOGIN_PORT must be a number from 0 to 65535'],
    [{ TRPC_LOGIN_PORT: 'http' }, 'TRPC_LOGIN_PORT must be a number from 0 to 65535'],
    [{ TRPC_LOGIN_REGISTRATION: 'yes' }, 'TRPC_LOGIN_REGISTRATION must be open or closed'],
    [{ TRPC_LOGIN_ORIGINS: 'https://a.example,*' }, 'TRPC_LOGIN_ORIGINS must be an https origin'],
    [{ TRPC_LOGIN_TRUSTED_PROXIES: 'proxy' }, 'TRPC_LOGIN_TRUSTED_PROXIES must be addresses or CIDRs'],
    [{ TRPC_LOGIN_TLS_CERT: 'a.pem' }, 'TRPC_LOGIN_TLS_KEY must be set together with TRPC_LOGIN_TLS_CERT'],
    [{ TRPC_LOGIN_BASE_URL: 'http://a.example' }, 'TRPC_LOGIN_BASE_URL must be an https origin'],
    [{ TRPC_LOGIN_DATABASE_URL: 'mysql://x' }, 'TRPC_LOGIN_DATABASE_URL must be sqlite:PATH'],
    [{ TRPC_LOGIN_PROVIDERS: '[{"provider":"x"' }, 'TRPC_LOGIN_PROVIDERS must be valid JSON'],
    [{ TRPC_LOGIN_PROVIDERS: '{}' }, 'TRPC_LOGIN_PROVIDERS must be a JSON list'],
    [{ TRPC_LOGIN_PROVIDERS: '[{"provider":"facebook"}]' }, 'TRPC_LOGIN_PROVIDERS [0].provider: must be google, github, microsoft'],
    [{ TRPC_LOGIN_PROVIDERS: '[{"provider":"google","clientId":"a"}]' }, 'TRPC_LOGIN_PROVIDERS [0].clientSecret: must be a string'],
    [{ TRPC_LOGIN_PROVIDERS: APPLE_WITHOUT_KEY }, 'TRPC_LOGIN_PROVIDERS apple: privateKey must be the text of the .p8 file'],
    [{ TRPC_LOGIN_APP_URL: 'app.example.com' }, 'TRPC_LOGIN_APP_URL must be an https origin'],
    [{ TRPC_LOGIN_PORT_FILE: '/does/not/exist' }, 'TRPC_LOGIN_PORT_FILE names a file that cannot be read'],
    [{ TRPC_LOGIN_PORT: '1', TRPC_LOGIN_PORT_FILE: 'x' }, 'TRPC_LOGIN_PORT and TRPC_LOGIN_PORT_FILE are both set'],
  ])('%j is refused and named', (env, message) => {
    expect(() => loadConfig(env)).toThrow(ConfigError)
    expect(() => loadConfig(env)).toThrow(message)
  })
})
