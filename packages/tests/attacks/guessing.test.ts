import { retryAfterOf } from '@trpc-login/client/node'
import { expect, test } from 'vitest'
import { cookieOf, MINUTE, PASSWORD, startServer, type TestServer } from '../support/server.ts'

const LIMITS = { failuresPerAddress: 20, callsPerAddress: 60, signUpsPerAddress: 5 }
const ROOMY = { failuresPerAddress: 10_000, callsPerAddress: 10_000, signUpsPerAddress: 10_000 }

const guess = (server: TestServer, username: string, password = 'not the password') => server.post('auth.login', { username, password })
const refused = (answer: Awaited<ReturnType<typeof guess>>) => [answer.status, answer.body.error?.data.reason]
const evaluated = (server: TestServer) => server.lines.filter(({ event }) => event === 'authn_login_fail').length

test('RL-3: of 50 wrong guesses at once, no more than six are evaluated', async () => {
  await using server = await startServer({ limits: ROOMY })
  const answers = await Promise.all(Array.from({ length: 50 }, () => guess(server, 'ada')))
  expect(evaluated(server)).toBe(6)
  expect(answers.filter(({ status }) => status === 401)).toHaveLength(6)
  for (const answer of answers.filter(({ status }) => status !== 401)) {
    expect(refused(answer)).toEqual([429, 'rate_limited'])
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0)
  }
})

test.each(['ada', 'nobody-here'])(
  'RL-2: from the sixth failure on %s waits twice as long each time, up to a quarter of an hour',
  async (username) => {
    await using server = await startServer({ limits: ROOMY })
    for (let i = 0; i < 5; i += 1) expect(refused(await guess(server, username))).toEqual([401, 'invalid_credentials'])
    const waits = []
    for (let i = 0; i < 12; i += 1) {
      expect(refused(await guess(server, username))).toEqual([401, 'invalid_credentials'])
      const answer = await guess(server, username, PASSWORD)
      expect(refused(answer)).toEqual([429, 'rate_limited'])
      expect(answer.headers.get('retry-after')).toBe(String(answer.body.error?.data.retryAfter))
      const wait = Number(answer.headers.get('retry-after'))
      waits.push(wait)
      server.clock.advance(wait * 1000)
    }
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900])
  },
)

test('RL-2: a sign-in sets the account’s count back, and only that account’s', async () => {
  await using server = await startServer({ limits: ROOMY })
  for (let i = 0; i < 5; i += 1) await guess(server, 'ada')
  for (let i = 0; i < 6; i += 1) await guess(server, 'bob')
  expect((await guess(server, 'ada', PASSWORD)).status).toBe(200)
  for (let i = 0; i < 5; i += 1) expect((await guess(server, 'ada')).status).toBe(401)
  expect((await guess(server, 'bob', PASSWORD)).status).toBe(429)
})

test('RL-1: after 100 failures in a row the password is good for nothing, however slowly they came', async () => {
  await using server = await startServer({ limits: ROOMY })
  const { api } = await server.signIn('ada', { remember: true })
  for (let i = 0; i < 100; i += 1) {
    expect((await guess(server, 'ada')).status).toBe(401)
    server.clock.advance(16 * MINUTE)
  }
  expect(refused(await guess(server, 'ada', PASSWORD))).toEqual([401, 'invalid_credentials'])
  // RL-6: the owner's own session goes on, and what it allows is counted apart.
  expect(await api.guarded.query()).toBe('ada')
  expect((await api.auth.reauthenticate.mutate({ password: PASSWORD })).session.fresh).toBe(true)
})

test('RL-5: an address has 20 failures in a quarter of an hour, whatever names it tries, and successes are not among them', async () => {
  await using server = await startServer({ limits: LIMITS })
  for (let i = 0; i < 10; i += 1) expect((await guess(server, 'ada', PASSWORD)).status).toBe(200)
  for (let i = 0; i < 20; i += 1) expect((await guess(server, `name${i}`)).status).toBe(401)
  expect(refused(await guess(server, 'bob', PASSWORD))).toEqual([429, 'rate_limited'])
  server.clock.advance(15 * MINUTE)
  expect((await guess(server, 'bob', PASSWORD)).status).toBe(200)
})

const from = (server: TestServer, address: string, n: number) =>
  server.post('auth.login', { username: `name${n}`, password: 'not the password' }, { 'x-forwarded-for': address })

test('RL-5: a forwarded address counts only behind a trusted proxy, and an IPv6 customer counts once', async () => {
  await using direct = await startServer({ limits: LIMITS })
  for (let i = 0; i < 20; i += 1) expect((await from(direct, `10.0.0.${i}`, i)).status).toBe(401)
  expect((await from(direct, '10.0.0.99', 99)).status).toBe(429)
  await using proxied = await startServer({ limits: LIMITS, trustedProxies: ['127.0.0.1'] })
  for (let i = 0; i < 20; i += 1) expect((await from(proxied, `2001:db8::${i}`, i)).status).toBe(401)
  expect((await from(proxied, '2001:db8:0:0:ffff::1', 98)).status).toBe(429)
  expect((await from(proxied, '2001:db8:0:1::1', 99)).status).toBe(401)
})

test('RL-5: an address has 60 calls a minute that check a password, and five accounts an hour', async () => {
  await using server = await startServer({ limits: LIMITS, registration: 'open' })
  const register = (username: string) => server.post('auth.register', { username, password: PASSWORD })
  for (let i = 0; i < 5; i += 1) expect((await register(`new${i}`)).status).toBe(200)
  expect((await register('new0')).status).toBe(429)
  for (let i = 0; i < 55; i += 1) expect((await guess(server, 'ada', PASSWORD)).status).toBe(200)
  expect((await guess(server, 'ada', PASSWORD)).status).toBe(429)
  server.clock.advance(MINUTE)
  expect((await guess(server, 'ada', PASSWORD)).status).toBe(200)
})

test('RL-8: counters survive a restart', async () => {
  await using first = await startServer({ limits: ROOMY })
  for (let i = 0; i < 6; i += 1) await guess(first, 'ada')
  await using second = await startServer({ limits: ROOMY, dir: first.dir })
  expect((await guess(second, 'ada', PASSWORD)).status).toBe(429)
})

test('PW-7: changing the password and confirming it are limited like signing in', async () => {
  await using server = await startServer({ limits: ROOMY })
  const cookie = cookieOf((await guess(server, 'ada', PASSWORD)).headers)
  const change = () => server.post('auth.changePassword', { currentPassword: 'wrong', newPassword: `${PASSWORD} more` }, { cookie })
  const confirm = () => server.post('auth.reauthenticate', { password: 'wrong' }, { cookie })
  for (let i = 0; i < 3; i += 1) expect([(await change()).status, (await confirm()).status]).toEqual([401, 401])
  expect([(await change()).status, (await confirm()).status]).toEqual([429, 429])
})

test('the SDK hands on how long to wait', async () => {
  await using server = await startServer({ limits: ROOMY })
  const { api } = server.client()
  const wrong = () => api.auth.login.mutate({ username: 'ada', password: 'wrong' }).then(() => 0, retryAfterOf)
  for (let i = 0; i < 6; i += 1) expect(await wrong()).toBe(null)
  expect(await wrong()).toBe(1)
})

test('SH-2: of a flood of logins each is either evaluated or told to come back, and other calls go on', async () => {
  await using server = await startServer({ limits: ROOMY, server: { maxConnectionsPerAddress: 1000 } })
  const cookie = cookieOf((await guess(server, 'ada', PASSWORD)).headers)
  const flood = Promise.all(Array.from({ length: 200 }, (_, index) => guess(server, `name${index}`)))
  expect((await server.post('authFunc', {}, { cookie })).status).toBe(200)
  const answers = await flood
  const shed = answers.filter(({ status }) => status === 503)
  expect(answers.length - shed.length).toBe(evaluated(server))
  for (const answer of shed) expect([refused(answer)[1], answer.headers.get('retry-after')]).toEqual(['overloaded', '2'])
})

test('RL-4: 200 logins in one batch are refused before any is looked at', async () => {
  await using server = await startServer({ limits: ROOMY })
  for (const count of [2, 10, 200]) {
    const path = Array.from({ length: count }, () => 'auth.login').join(',')
    const calls = Array.from({ length: count }, (_, index) => [index, { username: 'ada', password: PASSWORD }] as const)
    const answer = await server.post(`${path}?batch=1`, Object.fromEntries(calls))
    expect(answer.status).toBe(400)
    expect(answer.headers.getSetCookie()).toEqual([])
  }
  expect(await server.auth.sessions.list((await server.auth.users.findByUsername('ada'))?.id ?? '')).toEqual([])
  expect(evaluated(server)).toBe(0)
})
