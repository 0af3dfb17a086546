import { initTRPC } from '@trpc/server'
import { reasonOf } from '@trpc-login/client/node'
import { type AuthContext, AuthError, createAuth, formatAuthError, silentLog, sqliteStorage, transformer } from '@trpc-login/server'
import { expect, test, vi } from 'vitest'
import { z } from 'zod'
import { cookieOf, MINUTE, PASSWORD, startServer } from '../support/server.ts'

const reason = (call: Promise<unknown>) =>
  call.then(
    () => 'in',
    (error: unknown) => (error instanceof AuthError ? error.reason : reasonOf(error)),
  )

const tokenOf = (link: string) => link.split('token=')[1] ?? ''

async function startWithAdmin() {
  const server = await startServer()
  const root = await server.addUser({ username: 'root', roles: ['admin'] })
  const { api } = await server.signIn('root')
  return { server, api, root, [Symbol.asyncDispose]: server[Symbol.asyncDispose] }
}

test('an administrator adds, reads, changes, disables and removes a user, and each holds on the user’s next request', async () => {
  await using app = await startWithAdmin()
  const { server, api } = app
  const made = await api.auth.users.create.mutate({ username: 'eve', password: PASSWORD, email: 'Eve@Example.com', emailVerified: true })
  expect(made).toMatchObject({
    username: 'eve',
    email: 'eve@example.com',
    emailVerified: true,
    roles: [],
    disabledAt: null,
    lastLoginAt: null,
  })
  const eve = await server.signIn('eve')
  expect(await reason(eve.api.admin.query())).toBe('forbidden')
  await api.auth.users.update.mutate({ id: made.id, roles: ['admin', 'admin'], name: 'Eve' })
  expect(await eve.api.admin.query()).toBe('eve')
  expect(await api.auth.users.get.query({ id: made.id })).toMatchObject({ name: 'Eve', roles: ['admin'] })
  await api.auth.users.update.mutate({ id: made.id, roles: [] })
  expect(await reason(eve.api.admin.query())).toBe('forbidden')
  expect(await api.auth.users.sessions.query({ id: made.id })).toHaveLength(1)
  expect(await api.auth.users.revokeSessions.mutate({ id: made.id })).toEqual({ revoked: 1 })
  expect(await reason(eve.api.guarded.query())).toBe('session_ended')
  await api.auth.users.disable.mutate({ id: made.id })
  expect(await reason(server.signIn('eve'))).toBe('invalid_credentials')
  await api.auth.users.enable.mutate({ id: made.id })
  const back = await server.signIn('eve')
  expect(await api.auth.users.delete.mutate({ id: made.id })).toEqual({ ok: true })
  expect(await reason(back.api.guarded.query())).toMatch(/session_ended|not_signed_in/)
  for (const act of ['get', 'sessions'] as const) expect(await reason(api.auth.users[act].query({ id: made.id }))).toBe('not_found')
  for (const act of ['disable', 'enable', 'delete', 'update', 'startPasswordReset', 'revokeSessions'] as const) {
    expect(await reason(api.auth.users[act].mutate({ id: made.id }))).toBe('not_found')
  }
})

test('AD-3 AD-5: nobody sets a password, hash or id by administration, and rows hold what they may', async () => {
  await using app = await startWithAdmin()
  const { server, api, root } = app
  for (const field of ['password', 'passwordHash', 'username', 'epoch', 'createdAt', 'disabledAt']) {
    const { status } = await server.post('auth.users.update', { id: root.id, [field]: 'x' })
    expect(status).toBe(401)
    expect(await reason(api.auth.users.update.mutate({ id: root.id, [field]: 'x' }))).toBe('invalid_input')
  }
  const { items } = await api.auth.users.list.query({})
  const keys = ['createdAt', 'disabledAt', 'email', 'emailVerified', 'id', 'lastLoginAt', 'name', 'roles', 'username']
  for (const row of items) expect(Object.keys(row).toSorted()).toEqual(keys)
})

test('AD-4: the last administrator can be neither demoted, disabled nor deleted, by anyone', async () => {
  await using app = await startWithAdmin()
  const { api, root, server } = app
  expect(await reason(api.auth.users.update.mutate({ id: root.id, roles: [] }))).toBe('conflict')
  expect(await reason(api.auth.users.disable.mutate({ id: root.id }))).toBe('conflict')
  expect(await reason(api.auth.users.delete.mutate({ id: root.id }))).toBe('conflict')
  expect(await reason(api.auth.account.delete.mutate({ password: PASSWORD }))).toBe('conflict')
  expect(await api.admin.query()).toBe('root')
  await server.addUser({ username: 'second', roles: ['admin'] })
  await api.auth.users.update.mutate({ id: root.id, roles: [] })
  expect(await reason(api.admin.query())).toBe('forbidden')
})

test('AD-5 IN-5: lists page through every user once, search by beginnings, and refuse a cursor that is not theirs', async () => {
  await using app = await startWithAdmin()
  const { server, api } = app
  for (let i = 0; i < 25; i += 1) await server.auth.users.create({ username: `Müller${i}`, email: `m${i}@example.com` })
  async function all(input: { search?: string; limit: number }) {
    const seen: string[] = []
    for (let cursor: string | undefined; ; ) {
      const page = await api.auth.users.list.query({ ...input, cursor })
      seen.push(...page.items.map(({ username }) => username))
      if (page.nextCursor === null) return seen
      cursor = page.nextCursor
    }
  }
  const everyone = await all({ limit: 10 })
  expect([everyone.length, new Set(everyone).size]).toEqual([28, 28])
  expect(await all({ search: 'MÜLLER', limit: 7 })).toHaveLength(25)
  expect(await all({ search: 'm1@Example', limit: 7 })).toEqual(['Müller1'])
  expect(await all({ search: 'üller', limit: 7 })).toEqual([])
  const bad = [
    '',
    'x',
    'bnVsbA',
    Buffer.from('{"id":1,"usernameKey":"a","email":""}').toString('base64url'),
    Buffer.from('{"id":"a"}').toString('base64url'),
  ]
  for (const cursor of bad) {
    expect(await reason(api.auth.users.list.query({ cursor }))).toBe('invalid_input')
    expect(await reason(api.auth.audit.list.query({ cursor: `${cursor}x` }))).toBe('invalid_input')
  }
  for (const limit of [0, 101, 1.5]) expect(await reason(api.auth.users.list.query({ limit }))).toBe('invalid_input')
})

test('RL-6 RV-1 RV-3 RV-4 RV-6: a reset link sets a password once, ends every session, signs nobody in and lifts the lock', async () => {
  await using app = await startWithAdmin()
  const { server, api } = app
  const ada = await server.signIn('ada', { remember: true })
  const id = ada.session.current?.user.id ?? ''
  for (let i = 0; i < 100; i += 1) {
    await server.post('auth.login', { username: 'ada', password: 'wrong' })
    server.clock.advance(16 * MINUTE)
  }
  const { api: fresh } = await server.signIn('root')
  const first = await fresh.auth.users.startPasswordReset.mutate({ id })
  const { url, expiresAt } = await fresh.auth.users.startPasswordReset.mutate({ id })
  expect(url.replace(/#token=[\w-]{43}$/, '')).toBe(`${server.url}/reset-password`)
  expect(expiresAt).toEqual(new Date(server.clock.now() + 30 * MINUTE))
  const { api: stranger, session } = server.client()
  const reset = (token: unknown, newPassword = 'entirely new and long') =>
    reason(stranger.auth.resetPassword.mutate({ token, newPassword } as { token: string; newPassword: string }))
  for (const token of [tokenOf(first.url), '', 'x'.repeat(43), null, [], undefined]) expect(await reset(token)).toBe('invalid_input')
  expect(await reset(tokenOf(url), 'short')).toBe('weak_password')
  expect(await reset(tokenOf(url))).toBe('in')
  expect(await reset(tokenOf(url))).toBe('invalid_input')
  expect(session.current).toBe(null)
  expect(await reason(ada.api.guarded.query())).toBe('session_ended')
  expect((await stranger.auth.login.mutate({ username: 'ada', password: 'entirely new and long' })).user.username).toBe('ada')
  const late = await fresh.auth.users.startPasswordReset.mutate({ id })
  server.clock.advance(30 * MINUTE)
  expect(await reset(tokenOf(late.url))).toBe('invalid_input')
  await expect(api.auth.me.query()).resolves.toBeDefined()
})

test('RV-3: a password change and a disabling void a reset link', async () => {
  await using app = await startWithAdmin()
  const { server } = app
  const ada = await server.signIn('ada')
  const id = ada.session.current?.user.id ?? ''
  const link = async () => (await server.auth.users.startPasswordReset(id)).url.split('token=')[1] ?? ''
  const one = await link()
  await ada.api.auth.changePassword.mutate({ currentPassword: PASSWORD, newPassword: 'another long passphrase' })
  expect(await reason(server.auth.users.resetPassword(one, 'entirely new and long', null))).toBe('invalid_input')
  const two = await link()
  await server.auth.users.disable(id)
  await server.auth.users.enable(id)
  expect(await reason(server.auth.users.resetPassword(two, 'entirely new and long', null))).toBe('invalid_input')
})

test('AU-3 AD-6: what administrators and users do is in the audit log, with actor, subject, address, before and after, and no secret', async () => {
  await using app = await startWithAdmin()
  const { server, api, root } = app
  const ada = await server.signIn('ada')
  const id = ada.session.current?.user.id ?? ''
  await server.post('auth.login', { username: 'ada', password: 'wrong' })
  await server.post('auth.login', { username: 'nobody', password: 'wrong' })
  await api.auth.users.update.mutate({ id, roles: ['editor'] })
  await ada.api.auth.changePassword.mutate({ currentPassword: PASSWORD, newPassword: 'another long passphrase' })
  await api.auth.users.startPasswordReset.mutate({ id })
  await ada.api.auth.logout.mutate()
  await api.auth.users.disable.mutate({ id })
  const { items } = await api.auth.audit.list.query({ userId: id })
  expect(items.map(({ type, actorId }) => [type, actorId])).toEqual([
    ['user_disabled', root.id],
    ['authn_logout', id],
    ['password_reset_started', root.id],
    ['authn_password_change', id],
    ['authz_change', root.id],
    ['authn_login_fail', null],
    ['authn_login_success', id],
    ['user_created', null],
  ])
  expect(items.find(({ type }) => type === 'authz_change')).toMatchObject({
    at: new Date(server.clock.now()),
    subjectId: id,
    address: '127.0.0.1',
    detail: { before: { roles: [] }, after: { roles: ['editor'] } },
  })
  expect(JSON.stringify(items)).not.toMatch(/passphrase|horse|\$argon2|token=/)
  const failures = await api.auth.audit.list.query({ type: 'authn_login_fail', limit: 1 })
  expect(failures.items).toMatchObject([{ subjectId: null }])
  expect((await api.auth.audit.list.query({ type: 'authn_login_fail', cursor: failures.nextCursor ?? '' })).items).toHaveLength(1)
})

test('roles that an application has not declared do not compile', () => {
  const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog, roles: ['admin', 'editor'] })
  auth.requireRole('editor')
  // @ts-expect-error a slip of the pen
  auth.requireRole('edtior')
})

test('attributes of the application’s own are typed, checked on every write, and absent where there is no schema', async () => {
  const auth = createAuth({
    storage: sqliteStorage({ path: ':memory:' }),
    log: silentLog,
    attributes: z.strictObject({ plan: z.enum(['free', 'pro']).default('free'), seats: z.int().max(9).optional() }),
  })
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const router = t.router({
    plan: t.procedure.concat(auth.requireUser).query(({ ctx }) => {
      const plan: 'free' | 'pro' | undefined = ctx.user.attributes?.plan
      // @ts-expect-error the schema has no such field
      return [plan, ctx.user.attributes?.plane]
    }),
  })
  const ada = await auth.users.create({ username: 'ada' })
  const context = auth.createContext({ req: new Request('https://localhost/'), resHeaders: new Headers() })
  await context.auth.login(ada)
  expect(await router.createCaller(context).plan()).toEqual(['free', undefined])
  await auth.users.update(ada.id, { attributes: { plan: 'pro', seats: 3 } })
  expect((await auth.users.get(ada.id)).attributes).toEqual({ plan: 'pro', seats: 3 })
  const refused = await auth.users.update(ada.id, { attributes: { plan: 'gold', seats: 10 } }).catch((error: unknown) => error)
  expect(refused).toMatchObject({ reason: 'invalid_input', issues: [{ path: ['attributes', 'plan'] }, { path: ['attributes', 'seats'] }] })
  await expect(auth.users.create({ username: 'eve', attributes: { other: 1 } })).rejects.toThrow('attributes')
  await auth.close()

  await using app = await startWithAdmin()
  expect(await app.api.auth.users.get.query({ id: app.root.id })).not.toHaveProperty('attributes')
  expect(await reason(app.api.auth.users.update.mutate({ id: app.root.id, attributes: { plan: 'pro' } }))).toBe('invalid_input')
})

test('AU-3: who is refused leaves a trace, and a flood of refusals a short one', async () => {
  await using app = await startWithAdmin()
  const { server } = app
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD, remember: true })).headers)
  const { id = '' } = (await server.auth.users.findByUsername('ada')) ?? {}
  const refuse = async (path: string) => (await server.post(path, { id }, { cookie })).body.error?.data.reason
  const lines = () => server.lines.filter(({ event }) => event === 'authz_fail').map(({ fields }) => fields)
  const entries = async () => (await server.auth.audit.list({ type: 'authz_fail', limit: 100 })).items
  const requestId = expect.stringMatching(/^[0-9a-f-]{36}$/)

  for (let n = 0; n < 50; n += 1) expect(await refuse('auth.users.disable')).toBe('forbidden')
  expect(lines()).toEqual([{ requestId, userId: id, reason: 'forbidden', path: 'auth.users.disable' }])
  server.clock.advance(MINUTE)
  expect(await refuse('auth.users.delete')).toBe('forbidden')
  expect(lines().at(-1)).toEqual({ requestId, userId: id, reason: 'forbidden', path: 'auth.users.delete', more: 49 })
  server.clock.advance(15 * MINUTE)
  expect(await refuse('auth.account.delete')).toBe('reauthentication_required')
  await vi.waitFor(async () => expect(await entries()).toHaveLength(2))
  expect(await entries()).toMatchObject([
    { actorId: id, subjectId: id, address: '127.0.0.1', detail: { reason: 'reauthentication_required', path: 'auth.account.delete' } },
    { actorId: id, subjectId: id, address: '127.0.0.1', detail: { reason: 'forbidden', path: 'auth.users.disable' } },
  ])
  await server.post('auth.logout', {}, { cookie })
  expect((await server.auth.audit.list({ limit: 1 })).items).toMatchObject([{ type: 'authn_logout', actorId: id, subjectId: id }])
})
