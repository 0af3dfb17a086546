import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { reasonOf } from '@trpc-login/client/node'
import type { Storage } from '@trpc-login/server'
import { expect, test } from 'vitest'
import { cookieOf, DAY, HOUR, MINUTE, PASSWORD, startServer } from '../support/server.ts'

const reason = (call: Promise<unknown>) => call.then(() => 'passed', reasonOf)

test('SS-1 SS-3: login sets 32 random bytes as a host-bound session cookie, and puts them nowhere else', async () => {
  await using server = await startServer()
  const login = await server.post('auth.login', { username: 'ada', password: PASSWORD })
  const [line] = login.headers.getSetCookie()
  expect(line).toMatch(/^__Host-session=[A-Za-z0-9_-]{43}; Path=\/; HttpOnly; Secure; SameSite=Lax$/)
  const token = cookieOf(login.headers).split('=')[1] ?? ''
  expect(JSON.stringify(login.body)).not.toContain(token)
  expect(JSON.stringify(server.lines)).not.toContain(token)
})

test('SS-2: a copied database holds no token, and nothing in it signs in', async () => {
  await using server = await startServer()
  const login = await server.post('auth.login', { username: 'ada', password: PASSWORD })
  const token = cookieOf(login.headers).split('=')[1] ?? ''
  const files = readdirSync(server.dir).filter((name) => name.startsWith('login.db'))
  expect(files).toContain('login.db-wal')
  const bytes = Buffer.concat(files.map((name) => readFileSync(join(server.dir, name))))
  expect(bytes.includes(token)).toBe(false)
  expect(bytes.includes(Buffer.from(token, 'base64url'))).toBe(false)
  expect(bytes.includes(PASSWORD)).toBe(false)

  const { createHash } = await import('node:crypto')
  const hash = createHash('sha256').update(token).digest()
  expect(bytes.includes(hash)).toBe(true)
  const cookie = `__Host-session=${hash.toString('base64url')}`
  expect((await server.post('authFunc', {}, { cookie })).body.error?.data.reason).toBe('not_signed_in')
})

test('LG-2: signing in never adopts the cookie that came along, and ends its session', async () => {
  await using server = await startServer()
  const first = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const second = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD }, { cookie: first })).headers)
  expect(second).not.toBe(first)
  const late = await server.post('authFunc', {}, { cookie: first })
  expect([late.status, late.headers.getSetCookie()]).toEqual([401, []])
  expect((await server.post('authFunc', {}, { cookie: second })).status).toBe(200)
})

test('SS-5: a session ends after an hour unused, and use moves that limit', async () => {
  await using server = await startServer()
  const { api } = await server.signIn()
  for (let i = 0; i < 3; i += 1) {
    server.clock.advance(50 * MINUTE)
    expect(await api.guarded.query()).toBe('ada')
  }
  server.clock.advance(61 * MINUTE)
  expect(await reason(api.guarded.query())).toBe('session_ended')
})

test('SS-5: however much it is used, a session ends after 24 hours', async () => {
  await using server = await startServer()
  const { api } = await server.signIn()
  for (let i = 0; i < 28; i += 1) {
    server.clock.advance(50 * MINUTE)
    expect(await api.guarded.query()).toBe('ada')
  }
  server.clock.advance(50 * MINUTE)
  expect(await reason(api.guarded.query())).toBe('session_ended')
})

test('RM-1: a remembered session lives two weeks unused and thirty days in all, and its cookie says so', async () => {
  await using server = await startServer()
  const login = await server.post('auth.login', { username: 'ada', password: PASSWORD, remember: true })
  expect(login.headers.getSetCookie().join()).toContain(`Max-Age=${(30 * DAY) / 1000};`)
  const { api } = await server.signIn('ada', { remember: true, now: server.clock.now })
  for (let i = 0; i < 2; i += 1) {
    server.clock.advance(13 * DAY)
    expect(await api.guarded.query()).toBe('ada')
  }
  server.clock.advance(5 * DAY)
  expect(await reason(api.guarded.query())).toBe('not_signed_in')
  const cookie = cookieOf(login.headers)
  expect((await server.post('authFunc', {}, { cookie })).body.error?.data.reason).toBe('session_ended')
})

test('RM-2: a quarter of an hour after the password, sensitive calls ask for it again', async () => {
  await using server = await startServer()
  const { api } = await server.signIn('ada', { remember: true })
  expect(await api.fresh.query()).toBe('ada')
  server.clock.advance(15 * MINUTE)
  expect(await reason(api.fresh.query())).toBe('reauthentication_required')
  expect(await api.guarded.query()).toBe('ada')
  expect(await reason(api.auth.reauthenticate.mutate({ password: 'wrong wrong wrong' }))).toBe('invalid_credentials')
  const { session } = await api.auth.reauthenticate.mutate({ password: PASSWORD })
  expect(session).toMatchObject({ fresh: true, remembered: true, current: true })
  expect(await api.fresh.query()).toBe('ada')
})

test('reauthentication replaces the token and keeps the session', async () => {
  await using server = await startServer()
  const login = await server.post('auth.login', { username: 'ada', password: PASSWORD })
  const before = cookieOf(login.headers)
  const again = await server.post('auth.reauthenticate', { password: PASSWORD }, { cookie: before })
  const after = cookieOf(again.headers)
  expect(after).not.toBe(before)
  expect((await server.post('authFunc', {}, { cookie: before })).status).toBe(401)
  expect((await server.post('authFunc', {}, { cookie: after })).status).toBe(200)
})

/** Storage whose re-authentications of one session wait for each other just before they write. */
function meetBeforeRotate(count: number) {
  const arrived: (() => void)[] = []
  return (storage: Storage): Storage => ({
    ...storage,
    sessions: {
      ...storage.sessions,
      async rotate(...args) {
        await new Promise<void>((resolve) => {
          arrived.push(resolve)
          if (arrived.length === count) for (const go of arrived) go()
        })
        return storage.sessions.rotate(...args)
      },
    },
  })
}

test('of five re-authentications at once one replaces the token, the others are told of a conflict, and the session goes on', async () => {
  await using server = await startServer({ wrapStorage: meetBeforeRotate(5) })
  const before = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const calls = Array.from({ length: 5 }, () => server.post('auth.reauthenticate', { password: PASSWORD }, { cookie: before }))
  const answers = await Promise.all(calls)
  const winners = answers.filter(({ status }) => status === 200)
  expect(winners).toHaveLength(1)
  const others = answers.filter(({ status }) => status !== 200)
  expect(new Set(others.map(({ status, body }) => `${status} ${body.error?.data.reason}`))).toEqual(new Set(['409 conflict']))
  expect(others.flatMap(({ headers }) => headers.getSetCookie())).toEqual([])
  const after = winners[0] === undefined ? '' : cookieOf(winners[0].headers)
  expect((await server.post('authFunc', {}, { cookie: after })).status).toBe(200)
})

test('a re-authentication whose session ends before it writes is told so', async () => {
  let end: (() => Promise<unknown>) | undefined
  await using server = await startServer({
    wrapStorage: (storage) => ({
      ...storage,
      sessions: { ...storage.sessions, rotate: async (...args) => Promise.resolve(end?.()).then(() => storage.sessions.rotate(...args)) },
    }),
  })
  const login = await server.post('auth.login', { username: 'ada', password: PASSWORD })
  const ada = await server.auth.users.findByUsername('ada')
  end = () => server.auth.sessions.revokeAll(ada?.id ?? '')
  const late = await server.post('auth.reauthenticate', { password: PASSWORD }, { cookie: cookieOf(login.headers) })
  expect([late.status, late.body.error?.data.reason]).toEqual([401, 'session_ended'])
})

test('LO-1: a logged-out cookie is refused on the next request and after a restart, and a second logout is harmless', async () => {
  await using outer = await startServer()
  const cookie = cookieOf((await outer.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  expect((await outer.post('auth.logout', '', { cookie })).body.result?.data).toEqual({ ok: true })
  expect((await outer.post('authFunc', {}, { cookie })).status).toBe(401)
  expect((await outer.post('auth.logout', '', { cookie })).body.result?.data).toEqual({ ok: true })
  await outer.close()
  await using again = await startServer({ dir: outer.dir })
  expect((await again.post('authFunc', {}, { cookie })).body.error?.data.reason).toBe('session_ended')
})

test('ST-1: a restart keeps sessions', async () => {
  await using outer = await startServer()
  const cookie = cookieOf((await outer.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  await outer.close()
  await using again = await startServer({ dir: outer.dir })
  expect((await again.post('authFunc', {}, { cookie })).status).toBe(200)
})

test('LO-3: changing the password ends every other session and replaces this one’s token, also after a restart', async () => {
  await using server = await startServer()
  const [phone, laptop] = [await server.signIn(), await server.signIn()]
  const old = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const changed = await server.post(
    'auth.changePassword',
    { currentPassword: PASSWORD, newPassword: 'another good passphrase' },
    { cookie: old },
  )
  expect(changed.status).toBe(200)
  for (const { api } of [phone, laptop]) expect(await reason(api.guarded.query())).toBe('session_ended')
  expect((await server.post('authFunc', {}, { cookie: old })).status).toBe(401)
  expect((await server.post('authFunc', {}, { cookie: cookieOf(changed.headers) })).status).toBe(200)
  await server.close()
  await using again = await startServer({ dir: server.dir })
  expect((await again.post('authFunc', {}, { cookie: old })).status).toBe(401)
  expect((await again.post('auth.login', { username: 'ada', password: PASSWORD })).status).toBe(401)
  expect((await again.post('auth.login', { username: 'ada', password: 'another good passphrase' })).status).toBe(200)
})

test('PW-7: the current password is needed to change it', async () => {
  await using server = await startServer()
  const { api } = await server.signIn()
  const change = api.auth.changePassword.mutate({ currentPassword: 'not my password!', newPassword: 'another good passphrase' })
  expect(await reason(change)).toBe('invalid_credentials')
  expect(await api.guarded.query()).toBe('ada')
})

test('LO-2 LO-4: disabling a user ends their sessions on the next request and refuses new ones', async () => {
  await using server = await startServer()
  const ada = await server.signIn()
  const { user } = (await ada.api.auth.me.query())!
  await server.auth.users.disable(user.id)
  expect(await reason(ada.api.guarded.query())).toBe('session_ended')
  expect(await reason(ada.api.auth.login.mutate({ username: 'ada', password: PASSWORD }))).toBe('invalid_credentials')
  await server.auth.users.enable(user.id)
  expect(await reason(ada.api.auth.login.mutate({ username: 'ada', password: PASSWORD }))).toBe('passed')
})

test('LO-2: deleting a user ends their sessions on the next request', async () => {
  await using server = await startServer()
  const ada = await server.signIn()
  await server.auth.users.delete((await ada.api.auth.me.query())!.user.id)
  expect(await reason(ada.api.guarded.query())).toBe('not_signed_in')
})

test('SS-8: a user lists the own sessions, newest first, and ends one or all others', async () => {
  await using server = await startServer()
  const [one, two, three] = [await server.signIn(), await server.signIn(), await server.signIn()]
  const listed = await three.api.auth.sessions.list.query()
  expect(listed.map(({ current }) => current)).toEqual([true, false, false])
  expect(listed[0]).toMatchObject({ ip: '127.0.0.1', remembered: false, fresh: true })
  expect(listed[0]?.createdAt).toBeInstanceOf(Date)

  await three.api.auth.sessions.revoke.mutate({ id: one.session.current?.session.id ?? '' })
  expect(await reason(one.api.guarded.query())).toBe('session_ended')
  expect(await three.api.auth.sessions.revokeOthers.mutate()).toEqual({ revoked: 1 })
  expect(await reason(two.api.guarded.query())).toBe('session_ended')
  expect(await three.api.guarded.query()).toBe('ada')
})

test('AD-2: somebody else’s session is not there', async () => {
  await using server = await startServer()
  const [ada, bob] = [await server.signIn('ada'), await server.signIn('bob')]
  const id = ada.session.current?.session.id ?? ''
  expect(await reason(bob.api.auth.sessions.revoke.mutate({ id }))).toBe('not_found')
  expect(await ada.api.guarded.query()).toBe('ada')
})

test('SS-9: beyond fifty sessions the oldest ends', async () => {
  await using server = await startServer({ session: { maxPerUser: 2 } })
  const [one, two, three] = [await server.signIn(), await server.signIn(), await server.signIn()]
  expect(await reason(one.api.guarded.query())).toBe('session_ended')
  expect([await two.api.guarded.query(), await three.api.guarded.query()]).toEqual(['ada', 'ada'])
})

test('SS-9: sessions a day past their end are removed in bounded batches, live ones stay', async () => {
  await using server = await startServer()
  await server.signIn('ada')
  server.clock.advance(26 * HOUR)
  const bob = await server.signIn('bob')
  server.clock.advance(MINUTE)
  expect(await server.auth.sessions.purge()).toBeLessThanOrEqual(1)
  expect(await bob.api.guarded.query()).toBe('bob')
  const { DatabaseSync } = await import('node:sqlite')
  using db = new DatabaseSync(server.file, { readOnly: true })
  expect(db.prepare('select count(*) as n from sessions').get()).toEqual({ n: 1 })
})

test('SS-10: a burst of calls writes the last use once', async () => {
  let extended = 0
  await using server = await startServer({
    wrapStorage: (storage) => ({
      ...storage,
      sessions: { ...storage.sessions, extend: (uses, now) => ((extended += uses.length), storage.sessions.extend(uses, now)) },
    }),
  })
  const { api } = await server.signIn()
  server.clock.advance(30_000)
  await api.guarded.query()
  server.clock.advance(31_000)
  for (let i = 0; i < 5; i += 1) await api.guarded.query()
  expect(extended).toBe(1)
  expect((await api.auth.sessions.list.query())[0]?.lastSeenAt).toEqual(new Date(server.clock.now()))
})

test('SS-7: while the store fails, guarded calls answer 503 and leave the cookie alone', async () => {
  let broken = false
  await using server = await startServer({
    wrapStorage: (storage) => ({
      ...storage,
      sessions: {
        ...storage.sessions,
        find: (hash) => (broken ? Promise.reject(new Error('disk I/O error')) : storage.sessions.find(hash)),
      },
    }),
  })
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  broken = true
  const answer = await server.post('authFunc', {}, { cookie })
  expect([answer.status, answer.body.error?.data.reason]).toEqual([503, 'unavailable'])
  expect(answer.headers.getSetCookie()).toEqual([])
  expect(JSON.stringify(answer.body)).not.toContain('disk')
  broken = false
  expect((await server.post('authFunc', {}, { cookie })).status).toBe(200)
})
