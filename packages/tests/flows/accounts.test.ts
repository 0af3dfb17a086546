import { reasonOf } from '@trpc-login/client/node'
import { expect, test } from 'vitest'
import { MINUTE, PASSWORD, startServer } from '../support/server.ts'

const reason = (call: Promise<unknown>) => call.then(() => 'passed', reasonOf)

test('LG-1: wrong password, unknown, disabled and password-less users get one and the same answer', async () => {
  await using server = await startServer()
  await server.auth.users.disable((await server.addUser({ username: 'disabled' })).id)
  await server.auth.users.create({ username: 'passwordless' })
  const attempts = [
    { username: 'ada', password: 'wrong wrong wrong' },
    { username: 'nobody', password: PASSWORD },
    { username: 'disabled', password: PASSWORD },
    { username: 'passwordless', password: PASSWORD },
    { username: 'nobody@example.com', password: PASSWORD },
    { username: 'not a username!', password: PASSWORD },
  ]
  for (const attempt of attempts) {
    const { status, body, headers } = await server.post('auth.login', attempt)
    expect([status, body.error?.message, body.error?.data.reason]).toEqual([401, 'Invalid username or password', 'invalid_credentials'])
    expect(headers.getSetCookie()).toEqual([])
  }
})

test('usernames are compared after folding, and shown as they were registered', async () => {
  await using server = await startServer({ registration: 'open' })
  const { api } = server.client()
  await api.auth.register.mutate({ username: 'Straße', password: PASSWORD })
  expect(await reason(server.client().api.auth.register.mutate({ username: 'STRASSE', password: PASSWORD }))).toBe('conflict')
  expect((await api.auth.login.mutate({ username: 'strasse', password: PASSWORD })).user.username).toBe('Straße')
})

test('registration signs in while open, and is refused while closed', async () => {
  await using open = await startServer({ registration: 'open' })
  const { api, session } = open.client()
  const { user } = await api.auth.register.mutate({ username: 'eve', password: PASSWORD, name: 'Eve', email: 'Eve@Example.com' })
  expect(user).toMatchObject({ username: 'eve', name: 'Eve', email: 'eve@example.com', emailVerified: false, roles: [] })
  expect(session.current?.user.username).toBe('eve')
  expect(await api.guarded.query()).toBe('eve')

  await using closed = await startServer()
  const refused = await closed.post('auth.register', { username: 'eve', password: PASSWORD })
  expect([refused.status, refused.body.error?.data.reason]).toEqual([403, 'registration_closed'])
})

test('an e-mail identifies only once it is verified', async () => {
  await using server = await startServer()
  await server.addUser({ username: 'unproved', email: 'shared@example.com' })
  const { api } = server.client()
  const signIn = () => reason(api.auth.login.mutate({ username: 'Shared@example.com', password: PASSWORD }))
  expect(await signIn()).toBe('invalid_credentials')
  await server.addUser({ username: 'proved', email: 'shared@example.com', emailVerified: true })
  expect(await signIn()).toBe('passed')
  expect(await api.guarded.query()).toBe('proved')
  expect(
    await reason(
      server.addUser({ username: 'late', email: 'shared@example.com', emailVerified: true }).catch((error: { reason: string }) => {
        throw Object.assign(new Error('x'), error)
      }),
    ),
  ).toBe(null)
})

test('of 20 registrations of one name at once, exactly one succeeds', async () => {
  await using server = await startServer({ registration: 'open' })
  const answers = await Promise.all(
    Array.from({ length: 20 }, () => server.post('auth.register', { username: 'race', password: PASSWORD })),
  )
  const statuses = answers.map(({ status }) => status).toSorted((a, b) => a - b)
  expect(statuses).toEqual([200, ...Array.from({ length: 19 }, () => 409)])
})

test('PW-1 PW-5: weak passwords are refused, and the answer says why', async () => {
  await using server = await startServer({ registration: 'open' })
  const { api } = server.client()
  const attempt = (password: string) =>
    api.auth.register.mutate({ username: 'elisabeth', password, email: 'queen@example.com' }).then(
      () => 'passed',
      (error: Error) => [reasonOf(error), error.message],
    )
  expect(await attempt('fourteen chars')).toEqual(['weak_password', 'Use at least 15 characters; this one has 14'])
  expect(await attempt('😀'.repeat(14))).toEqual(['weak_password', 'Use at least 15 characters; this one has 14'])
  expect(await attempt('aaaaaaaaaaaaaaaaaaaa')).toEqual(['weak_password', 'Use more than a few repeated characters'])
  expect(await attempt('elisabethelisabeth1')).toEqual(['weak_password', 'Use something other than your own name or address'])
})

test('PW-2 PW-3 PW-8: long, spaced and Unicode passwords hold to the last character, in either spelling', async () => {
  await using server = await startServer()
  const { api } = server.client()
  const long = `${'long enough words '.repeat(5)}!`
  await server.addUser({ username: 'long', password: long })
  await server.addUser({ username: 'accent', password: 'mot de passe très été' })
  const signIn = (username: string, password: string) => reason(api.auth.login.mutate({ username, password }))
  expect(await signIn('long', long)).toBe('passed')
  expect(await signIn('long', `${long} `)).toBe('invalid_credentials')
  expect(await signIn('long', long.slice(0, -1))).toBe('invalid_credentials')
  expect(await signIn('accent', 'mot de passe très été'.normalize('NFD'))).toBe('passed')
  expect(await signIn('long', 'x'.repeat(257))).toBe('invalid_input')
})

test('PW-4: hashes are argon2id with a random salt, and a login raises outdated parameters', async () => {
  await using old = await startServer()
  const [ada, bob] = [await old.auth.users.findByUsername('ada'), await old.auth.users.findByUsername('bob')]
  expect(ada?.passwordHash).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
  expect(ada?.passwordHash?.split('$')[4]).not.toBe(bob?.passwordHash?.split('$')[4])
  await old.close()
  await using raised = await startServer({ dir: old.dir, password: { iterations: 3 } })
  await raised.signIn()
  expect((await raised.auth.users.findByUsername('ada'))?.passwordHash).toMatch(/^\$argon2id\$v=19\$m=19456,t=3,p=1\$/)
  await raised.signIn()
})

test('AD-3: self-service calls refuse fields that decide rights', async () => {
  await using server = await startServer({ registration: 'open' })
  const attempt = await server.post('auth.register', { username: 'mallory', password: PASSWORD, roles: ['admin'], emailVerified: true })
  expect(attempt.status).toBe(400)
  expect(attempt.body.error?.data.issues).toEqual([
    { path: ['roles'], message: 'Unknown key' },
    { path: ['emailVerified'], message: 'Unknown key' },
  ])
  expect(await server.auth.users.findByUsername('mallory')).toBe(null)
})

test('a user changes the own name, sees all that is stored, and deletes the account', async () => {
  await using server = await startServer()
  const { api, session } = await server.signIn()
  expect((await api.auth.account.update.mutate({ name: 'Ada L.' })).name).toBe('Ada L.')
  const exported = await api.auth.account.export.query()
  expect(exported).toMatchObject({ user: { username: 'ada', name: 'Ada L.' }, sessions: [{ current: true }] })
  expect(JSON.stringify(exported)).not.toContain('argon2')

  const missing = await api.auth.account.delete.mutate({}).catch((error: unknown) => error)
  expect(missing).toMatchObject({ data: { reason: 'invalid_input', issues: [{ path: ['password'], message: 'Enter your password' }] } })
  expect(await reason(api.auth.account.delete.mutate({ password: 'wrong wrong wrong' }))).toBe('invalid_credentials')
  server.clock.advance(16 * MINUTE)
  expect(await reason(api.auth.account.delete.mutate({ password: PASSWORD }))).toBe('reauthentication_required')
  expect(await reason(api.auth.account.export.query())).toBe('reauthentication_required')
  await api.auth.reauthenticate.mutate({ password: PASSWORD })
  expect(await api.auth.account.delete.mutate({ password: PASSWORD })).toEqual({ ok: true })
  expect(session.state.status).toBe('signed_out')
  expect(await reason(api.guarded.query())).toBe('not_signed_in')
  expect(await server.auth.users.findByUsername('ada')).toBe(null)
})

test('AU-6: an export goes through a long log page by page, each entry once', async () => {
  await using server = await startServer()
  const { api, session } = await server.signIn()
  const id = session.current?.user.id ?? ''
  for (let index = 0; index < 1100; index += 1)
    await server.auth.storage.audit.append(server.auth.audit.entry(`type${index}`, { actorId: id, address: null }, id))
  const types: string[] = []
  for (let cursor: string | undefined, pages = 1; ; pages += 1) {
    const page = await api.auth.account.export.query({ cursor })
    expect(page.audit.length).toBeLessThanOrEqual(200)
    types.push(...page.audit.map(({ type }) => type))
    if (page.auditCursor === null) {
      expect(pages).toBe(6)
      break
    }
    cursor = page.auditCursor
  }
  expect(new Set(types).size).toBe(types.length)
  expect(types).toEqual(expect.arrayContaining(Array.from({ length: 1100 }, (_, index) => `type${index}`)))
  expect(await reason(api.auth.account.export.query({ cursor: 'x' }))).toBe('invalid_input')
})

test('AU-3: a change of the own name is in the audit log, with what it was before, by whom and from where; one that changes nothing is not', async () => {
  await using server = await startServer()
  const ada = await server.signIn('ada')
  const id = ada.session.current?.user.id ?? ''
  for (const name of ['Ada', 'Ada', null]) await ada.api.auth.account.update.mutate({ name })
  await ada.api.auth.account.update.mutate({})
  const { items } = await server.auth.audit.list({ userId: id, type: 'user_updated' })
  expect(items).toMatchObject([
    { actorId: id, subjectId: id, address: '127.0.0.1', detail: { before: { name: 'Ada' }, after: { name: null } } },
    { actorId: id, subjectId: id, address: '127.0.0.1', detail: { before: { name: null }, after: { name: 'Ada' } } },
  ])
})

test('roles open what they guard, and nothing else does', async () => {
  await using server = await startServer()
  await server.addUser({ username: 'root', roles: ['admin'] })
  expect(await (await server.signIn('root')).api.admin.query()).toBe('root')
  const refused = (await server.signIn('ada')).api.admin.query()
  expect(await reason(refused)).toBe('forbidden')
})
