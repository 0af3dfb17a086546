import { type AuthError, createAuth, silentLog, sqliteStorage } from '@trpc-login/server'
import { expect, test } from 'vitest'
import { PASSWORD, startServer } from '../support/server.ts'

const INVISIBLE = ['\u{34f}', '\u{3164}', '\u{fe0f}', '\u{e0100}', '\u{180b}', '\u{17b4}', '\u{115f}', '\u{200d}', '\u{ad}']
const TURNING = ['\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}']

/** Reason and fields of what a call was refused for. */
const refusalOf = (call: Promise<unknown>) =>
  call.then(
    () => 'done',
    (error: AuthError) => `${error.reason} ${error.issues?.map(({ path }) => path.join('.')).join()}`,
  )

test.each(INVISIBLE)('LG-4: a username with an invisible character is refused beside the one without: U+%#', async (character) => {
  await using server = await startServer({ registration: 'open' })
  for (const username of [`ada${character}`, `a${character}da`]) {
    const { status, body } = await server.post('auth.register', { username, password: PASSWORD })
    expect([status, body.error?.data.reason, body.error?.data.issues?.[0]?.path]).toEqual([400, 'invalid_input', ['username']])
  }
})

test('LG-4: a name that turns or breaks the line it stands in, or shows nothing, is refused; emoji and blanks inside are not', async () => {
  await using server = await startServer({ registration: 'open' })
  const register = async (name: string, index: number) =>
    (await server.post('auth.register', { username: `eve${index}`, password: PASSWORD, name })).status
  const refused = [
    ...TURNING.map((character) => `Ada${character}nimda`),
    'a\u2028b',
    'a\u2029b',
    'a\u0085b',
    'a\nb',
    '\u3164',
    '\u200b \u200b',
    ' ',
  ]
  expect(await Promise.all(refused.map(register))).toEqual(refused.map(() => 400))
  const taken = ['Ada Lovelace', '👩‍👩‍👧 family', 'می‌خواهم', 'Zoë ❤️']
  expect(await Promise.all(taken.map((name, index) => register(name, 100 + index)))).toEqual(taken.map(() => 200))
})

test('blanks that a keyboard appends are no part of a username or an address, at sign-up and at sign-in', async () => {
  await using server = await startServer({ registration: 'open' })
  const made = await server.post('auth.register', { username: ' eve ', password: PASSWORD, email: 'eve@example.com ' })
  expect(made.body.result?.data).toMatchObject({ user: { username: 'eve', email: 'eve@example.com' } })
  const user = await server.auth.users.findByUsername('eve')
  await server.auth.users.update(user?.id ?? '', { emailVerified: true })
  for (const username of ['eve ', ' eve', '\u00a0eve\u3000', 'eve@example.com ', ' EVE@example.com']) {
    expect([username, (await server.post('auth.login', { username, password: PASSWORD })).status]).toEqual([username, 200])
  }
  for (const password of [`${PASSWORD} `, ` ${PASSWORD}`]) {
    expect((await server.post('auth.login', { username: 'eve', password })).status).toBe(401)
  }
  for (const username of [' ', 'eve\n', '\u2028eve']) {
    expect([username, (await server.post('auth.login', { username, password: PASSWORD })).status]).toEqual([username, 400])
  }
})

test('RL-2: blanks around a name make no other account to guess at', async () => {
  await using server = await startServer()
  const guess = (username: string) => server.post('auth.login', { username, password: 'not the password' })
  for (const username of ['nobody', 'nobody ', ' nobody', 'nobody  ', '\u3000nobody']) expect((await guess(username)).status).toBe(401)
  expect((await guess(' nobody ')).status).toBe(401)
  expect((await guess('nobody')).status).toBe(429)
})

const BAD_USERNAMES = [
  '',
  ' ',
  'a@b',
  'a b',
  'ada\n',
  'a\nb',
  'a'.repeat(65),
  'a'.repeat(5000),
  `ad${INVISIBLE[0]}a`,
  '\ud800',
  undefined,
  7,
]

test.each(BAD_USERNAMES)('AD-3: in process the username %j is refused as a procedure refuses it', async (username) => {
  const auth = createAuth({ log: silentLog, storage: sqliteStorage({ path: ':memory:' }) })
  expect(await refusalOf(auth.users.create({ username: username as string }))).toBe('invalid_input username')
  await auth.close()
})

test('AD-3: in process a name, an address, a role and a password are refused as a procedure refuses them, and kept as it keeps them', async () => {
  const auth = createAuth({ log: silentLog, storage: sqliteStorage({ path: ':memory:' }) })
  const { id } = await auth.users.create({ username: 'ＡＤＡ', email: 'Ada@EXAMPLE.com', name: ' Ada ', roles: ['editor', 'editor'] })
  expect(await auth.users.get(id)).toMatchObject({ username: 'ADA', email: 'ada@example.com', name: 'Ada', roles: ['editor'] })
  const bad: [string, Record<string, unknown>][] = [
    ['email', { email: 'a,b@c.d' }],
    ['email', { email: `${'a'.repeat(250)}@b.cc` }],
    ['name', { name: 'a\u202eb' }],
    ['name', { name: 'x'.repeat(201) }],
    ['name', { name: '' }],
    ['roles.0', { roles: ['Editor'] }],
    ['roles.1', { roles: ['editor', 'a b'] }],
    ['roles', { roles: Array.from({ length: 51 }, (_, index) => `role${index}`) }],
  ]
  for (const [field, fields] of bad) {
    expect(await refusalOf(auth.users.create({ username: 'eve', ...fields }))).toBe(`invalid_input ${field}`)
    expect(await refusalOf(auth.users.update(id, fields))).toBe(`invalid_input ${field}`)
  }
  expect(await refusalOf(auth.users.create({ username: 'eve', password: `${'lonely walk home '.repeat(3)}\ud800` }))).toBe(
    'invalid_input password',
  )
  expect(await refusalOf(auth.users.create({ username: 'eve', password: 'lonely walk home '.repeat(20) }))).toBe('invalid_input password')
  expect(await refusalOf(auth.users.setName(id, 'a\u2066b'))).toBe('invalid_input name')
  await auth.users.update(id, { email: 'ADA@Example.org ', emailVerified: true, name: null })
  expect(await auth.users.get(id)).toMatchObject({ email: 'ada@example.org', name: null })
  await auth.close()
})

test('AD-3: where roles are declared no other can be given, the message names them, and a role that is held may stay', async () => {
  const storage = sqliteStorage({ path: ':memory:' })
  const before = createAuth({ log: silentLog, storage })
  const { id } = await before.users.create({ username: 'ada', roles: ['writer'] })
  const auth = createAuth({ log: silentLog, storage, roles: ['editor'] })
  const typo = auth.users.create({ username: 'eve', roles: ['edtior'] })
  await expect(typo).rejects.toThrow('roles.0: Unknown role; the roles are admin, editor')
  expect(await auth.users.findByUsername('eve')).toBe(null)
  expect(await refusalOf(auth.users.update(id, { roles: ['edtior'] }))).toBe('invalid_input roles.0')
  expect((await auth.users.update(id, { roles: ['writer', 'editor', 'admin'] })).roles).toEqual(['writer', 'editor', 'admin'])
  expect((await auth.users.create({ username: 'eve', roles: ['editor'] })).roles).toEqual(['editor'])
  await auth.close()
  expect(() => createAuth({ storage, roles: ['Editor'] })).toThrow('roles.0 A role is a lower-case word')
})

test('AD-3: administrators meet the same rule over the wire', async () => {
  await using server = await startServer({ roles: ['editor'] })
  await server.addUser({ username: 'root', roles: ['admin'] })
  const { api } = await server.signIn('root')
  await expect(api.auth.users.create.mutate({ username: 'eve', roles: ['edtior'] })).rejects.toMatchObject({
    data: { reason: 'invalid_input', issues: [{ path: ['roles', 0], message: 'Unknown role; the roles are admin, editor' }] },
  })
  expect(await api.auth.users.create.mutate({ username: 'eve', roles: ['editor'] })).toMatchObject({ roles: ['editor'] })
})
