import { retryAfterOf } from '@trpc-login/client/node'
import { expect, test } from 'vitest'
import { cookieOf, MINUTE, PASSWORD, startServer, type TestServer } from '../support/server.ts'

const LIMITS = { failuresPerAddress: 20, callsPerAddress: 60, signUpsPerAddress: 5 }
const ROOMY = { failuresPerAddress: 10_000, callsPerAddress: 10_000, signUpsPerAddress: 10_000 }

const guess = (server: TestServer, username: string, password = 'not the password') => server.post('auth.login', { username, password })
const refused = (answer: Awaited<ReturnType<typeof guess>>) => [answer.status, answer.body.error?.data.reason]
const evaluated = (server: TestServer) => server.lines.filter(({ event }) => event === 'authn_login_fail').length

/** Two servers on one database, whose clocks agree. */
async function startPair() {
  const one = await startServer({ limits: LIMITS })
  const other = await startServer({ limits: LIMITS, dir: one.dir })
  one.clock.advance(other.clock.now() - one.clock.now())
  return {
    one,
    other,
    advance(ms: number) {
      for (const { clock } of [one, other]) clock.advance(ms)
    },
    async [Symbol.asyncDispose]() {
      for (const server of [other, one]) await server[Symbol.asyncDispose]()
    },
  }
}

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

test('RL-3: wrong guesses at once by way of two servers have no more tries than by way of one, of an account and of an ip', async () => {
  await using pair = await startPair()
  const { one, other } = pair
  const servers = [one, other]
  const all = () => evaluated(one) + evaluated(other)
  await Promise.all(Array.from({ length: 50 }, (_, n) => guess(servers[n % 2] as TestServer, 'ada')))
  expect(all()).toBe(6)
  await Promise.all(Array.from({ length: 50 }, (_, n) => guess(servers[n % 2] as TestServer, `name${n}`)))
  expect(all()).toBe(20)
})

test('RL-5: servers whose clocks differ by a little count in one window', async () => {
  await using pair = await startPair()
  const { one, other } = pair
  other.clock.advance(30_000)
  for (let n = 0; n < 20; n += 1) expect((await guess(n % 2 === 0 ? other : one, `name${n}`)).status).toBe(401)
  for (const server of [one, other]) expect(refused(await guess(server, 'bob', PASSWORD))).toEqual([429, 'rate_limited'])
})

test('RL-2 RL-3: right passwords that come together wait for each other, and none is told to come back later than in a second', async () => {
  await using pair = await startPair()
  const { one, other } = pair
  const names = Array.from({ length: 40 }, (_, n) => `user${n}`)
  for (const username of names) await one.addUser({ username })
  const office = await Promise.all(names.map((name) => guess(one, name, PASSWORD)))
  expect(office.map(({ status }) => status)).toEqual(names.map(() => 200))
  pair.advance(MINUTE)
  const devices = await Promise.all(Array.from({ length: 12 }, () => guess(one, 'ada', PASSWORD)))
  const elsewhere = await Promise.all(Array.from({ length: 12 }, (_, n) => guess(n % 2 === 0 ? one : other, 'bob', PASSWORD)))
  for (const { status, headers } of [...devices, ...elsewhere])
    if (status !== 200) expect([status, headers.get('retry-after')]).toEqual([429, '1'])
  expect(devices.filter(({ status }) => status === 200).length).toBeGreaterThan(6)
  console.log(tally(office), tally(devices), tally(elsewhere))
})

const tally = (answers: readonly { status: number }[]) => {
  const statuses: Record<number, number> = {}
  for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1
  return statuses
}

test('RL-3: of more right passwords than can wait each is let in or told to come back in a second', async () => {
  await using server = await startServer({ limits: ROOMY, server: { maxConnectionsPerAddress: 1000 } })
  const answers = await Promise.all(Array.from({ length: 150 }, () => guess(server, 'ada', PASSWORD)))
  const refusals = answers.filter(({ status }) => status !== 200)
  expect(refusals.length).toBeLessThan(144)
  for (const answer of refusals) expect([...refused(answer), answer.headers.get('retry-after')]).toEqual([429, 'rate_limited', '1'])
})

test('RL-3: a flood of guesses has its budget also where right passwords come in between', async () => {
  await using server = await startServer({ limits: { ...LIMITS, callsPerAddress: 1000 } })
  const wrong = Array.from({ length: 60 }, (_, n) => guess(server, `name${n}`))
  const right = Array.from({ length: 10 }, () => guess(server, 'bob', PASSWORD))
  await Promise.all([...wrong, ...right])
  expect(evaluated(server)).toBeLessThanOrEqual(20)
})

test('RL-3: what a server left under way when it died keeps nobody out for long', async () => {
  await using server = await startServer({ limits: LIMITS })
  const { id = '' } = (await server.auth.users.findByUsername('ada')) ?? {}
  const key = `under-way:account:${id}`
  const left = { count: 6, blockedUntil: 0, expiresAt: server.clock.now() + 30_000 }
  await server.auth.storage.attempts.change([key], () => new Map([[key, left]]))
  const answer = await guess(server, 'ada', PASSWORD)
  expect([...refused(answer), answer.headers.get('retry-after')]).toEqual([429, 'rate_limited', '1'])
  server.clock.advance(30_000)
  expect((await guess(server, 'ada', PASSWORD)).status).toBe(200)
})

test('RL-5: asking which names are taken costs a sign-up each, and what else goes wrong with one costs none', async () => {
  await using server = await startServer({ limits: LIMITS, registration: 'open' })
  const register = (username: string, password = PASSWORD) => server.post('auth.register', { username, password })
  for (let n = 0; n < 6; n += 1) expect(refused(await register('eve', 'short'))).toEqual([400, 'weak_password'])
  for (let n = 0; n < 5; n += 1) expect(refused(await register('ada'))).toEqual([409, 'conflict'])
  const answer = await register('eve')
  expect([...refused(answer), answer.headers.get('retry-after')]).toEqual([429, 'rate_limited', '3600'])
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

test('RL-1 RL-6: after 100 failures in a row the password is good for nothing, however slowly they came', async () => {
  await using server = await startServer({ limits: ROOMY })
  const { api } = await server.signIn('ada', { remember: true })
  for (let i = 0; i < 100; i += 1) {
    expect((await guess(server, 'ada')).status).toBe(401)
    server.clock.advance(16 * MINUTE)
  }
  expect(refused(await guess(server, 'ada', PASSWORD))).toEqual([401, 'invalid_credentials'])
  // The owner's own session goes on, and what it allows is counted apart.
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
  second.clock.advance(first.clock.now() - second.clock.now())
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
