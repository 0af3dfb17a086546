import type { IncomingHttpHeaders } from 'node:http'
import { expect, test } from 'vitest'
import { type Behind, type BehindOptions, PLACES, startBehind } from '../support/behind.ts'
import { MINUTE, PASSWORD } from '../support/server.ts'

const LIMITS = { failuresPerAddress: 20, callsPerAddress: 60, signUpsPerAddress: 5 }
const STRANGER = '203.0.113.9'
const OWNER = '198.51.100.7'
const PATHLESS = ['fetch', 'lambda']

const guess = (app: Behind, n: number, headers: Record<string, string> = {}) =>
  app.post('auth.login', { username: `name${n}`, password: 'not the password' }, headers)
const enter = (app: Behind, headers: Record<string, string> = {}) =>
  app.post('auth.login', { username: 'bob', password: PASSWORD }, headers)

/** 25 wrong passwords of a stranger, then the right one of somebody else; how often each status came. */
async function strangerThenOwner(app: Behind, from: (ip: string) => Record<string, string>) {
  const wrong: Record<number, number> = {}
  for (let n = 0; n < 25; n += 1) {
    const { status } = await guess(app, n, from(STRANGER))
    wrong[status] = (wrong[status] ?? 0) + 1
  }
  return { wrong, right: (await enter(app, from(OWNER))).status }
}

const warnings = ({ lines }: Behind) => lines.filter(({ level, event }) => level === 'warn' && /client_ip|forwarded_for/.test(event))

test.each(PATHLESS)(
  'RL-5 %s: without an ip 25 wrong passwords of a stranger keep nobody out, and one warning names the way',
  async (place) => {
    await using app = await startBehind(place as 'fetch', { limits: LIMITS })
    const outcome = await strangerThenOwner(app, () => ({}))
    console.log(place, 'without ip', outcome)
    expect(outcome).toEqual({ wrong: { 401: 25 }, right: 200 })
    expect(warnings(app).map(({ event, fields }) => [event, fields['advice']])).toEqual([
      ['client_ip_unknown', expect.stringMatching(/createContext\(opts, \{ ip \}\).*clientIp/)],
    ])
    // The account's own limits hold all the same.
    const answers = []
    for (let n = 0; n < 7; n += 1) answers.push((await app.post('auth.login', { username: 'ada', password: 'wrong' })).status)
    expect(answers).toEqual([401, 401, 401, 401, 401, 401, 429])
  },
)

/** Ways to say whose request it is, by a header that the platform sets. */
const WAYS: Readonly<Record<string, BehindOptions>> = {
  'createContext(opts, { ip })': { ip: ({ req }) => headerOf(req.headers, 'x-real-ip') },
  'createAuth({ clientIp })': { clientIp: (req) => headerOf(req.headers, 'x-real-ip') },
  'createAuth({ trustedProxies })': { trustedProxies: ['127.0.0.1'] },
}

function headerOf(headers: unknown, name: string): string | null {
  return headers instanceof Headers ? headers.get(name) : String((headers as IncomingHttpHeaders)[name] ?? '')
}

test.each(PLACES)('RL-5 %s: with an ip a stranger has 20 failures, and others are let in', async (place) => {
  for (const [way, options] of Object.entries(WAYS)) {
    if (place.startsWith('ours') && 'ip' in options) continue
    await using app = await startBehind(place, { ...options, limits: LIMITS })
    const outcome = await strangerThenOwner(app, (ip) => ({ 'x-real-ip': ip, 'x-forwarded-for': `192.0.2.1, ${ip}` }))
    console.log(place, way, outcome)
    expect([way, outcome]).toEqual([way, { wrong: { 401: 20, 429: 5 }, right: 200 }])
    expect((await guess(app, 30, { 'x-real-ip': STRANGER, 'x-forwarded-for': STRANGER })).headers.get('retry-after')).toBe('900')
    const [session] = await app.auth.sessions.list((await app.auth.users.findByUsername('bob'))?.id ?? '')
    expect(session?.ip).toBe(OWNER)
    expect(warnings(app)).toEqual([])
  }
})

test('RL-5: what is no single ip is none', async () => {
  await using app = await startBehind('fetch', { clientIp: (req) => headerOf(req.headers, 'x-forwarded-for') })
  for (const [text, ip] of [
    [`${STRANGER}, ${OWNER}`, null],
    ['unknown', null],
    ['', null],
    [`${OWNER}:40001`, OWNER],
    ['[2001:DB8::1]:443', '2001:db8::1'],
    ['::ffff:198.51.100.7', OWNER],
  ] as const) {
    await app.auth.sessions.revokeAll(null)
    expect((await enter(app, { 'x-forwarded-for': text })).status).toBe(200)
    const [session] = await app.auth.sessions.list((await app.auth.users.findByUsername('bob'))?.id ?? '')
    expect([text, session?.ip]).toEqual([text, ip])
  }
  expect(warnings(app)).toHaveLength(1)
})

test.each(PLACES.filter((place) => !PATHLESS.includes(place)))(
  'RL-5 %s: a forwarded ip of an untrusted peer is not read, and said once',
  async (place) => {
    await using app = await startBehind(place, { limits: LIMITS })
    for (let n = 0; n < 20; n += 1) expect((await guess(app, n, { 'x-forwarded-for': `10.0.0.${n}` })).status).toBe(401)
    expect((await enter(app, { 'x-forwarded-for': OWNER })).status).toBe(429)
    expect(warnings(app).map(({ event, fields }) => [event, fields['advice']])).toEqual([
      ['forwarded_for_ignored', expect.stringContaining('trustedProxies')],
    ])
  },
)

test('RL-5: sign-ups without an ip share one bucket of twenty times the limit', async () => {
  await using app = await startBehind('fetch', { limits: { ...LIMITS, signUpsPerAddress: 1 }, registration: 'open' })
  const register = (n: number) => app.post('auth.register', { username: `new${n}`, password: PASSWORD })
  for (let n = 0; n < 20; n += 1) expect((await register(n)).status).toBe(200)
  const refused = await register(20)
  expect([refused.status, refused.reasons, refused.headers.get('retry-after')]).toEqual([429, ['rate_limited'], '3600'])
})

test('RL-5: calls without an ip that are open to all share one bucket of twenty times the limit', async () => {
  await using app = await startBehind('fetch', { limits: { ...LIMITS, callsPerAddress: 2 } })
  const reset = () => app.post('auth.resetPassword', { token: 'x'.repeat(43), newPassword: PASSWORD })
  for (let n = 0; n < 40; n += 1) expect((await reset()).status).toBe(400)
  expect((await reset()).status).toBe(429)
  app.clock.advance(MINUTE)
  expect((await reset()).status).toBe(400)
})
