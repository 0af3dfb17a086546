import { oidc } from '@trpc-login/server/providers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAgent } from '../support/agent.ts'
import { MINUTE, PASSWORD, startServer, type TestServer } from '../support/server.ts'
import { type Claims, startTestProvider, type TestProvider } from '../support/test-provider.ts'

type Agent = ReturnType<typeof createAgent>

let idp: TestProvider
let other: TestProvider
beforeAll(async () => {
  idp = await startTestProvider()
  other = await startTestProvider()
})
afterAll(async () => {
  await idp[Symbol.asyncDispose]()
  await other[Symbol.asyncDispose]()
})

const start = (options: Parameters<typeof startServer>[0] & { providerRegistration?: 'open' | 'closed' } = {}) => {
  const { providerRegistration, ...rest } = options
  const credentials = {
    clientId: 'app',
    clientSecret: 'secret',
    ...(providerRegistration === undefined ? {} : { registration: providerRegistration }),
  }
  return startServer({
    registration: 'open',
    providers: [
      oidc({ id: 'idp', name: 'IdP', issuer: idp.issuer, ...credentials }),
      oidc({ id: 'other', name: 'Other', issuer: other.issuer, ...credentials }),
    ],
    ...rest,
  })
}

/** The whole way with a provider. */
async function signIn(agent: Agent, claims: Claims, input: Record<string, unknown> = {}, provider = 'idp') {
  const url = await agent.begin({ provider, ...input })
  return agent.comeBack(provider, (provider === 'idp' ? idp : other).approve(url, claims))
}

async function signInWithPassword(server: TestServer, username: string, password = PASSWORD, remember = false) {
  const agent = createAgent(server)
  expect((await agent.post('auth.login', { username, password, remember })).status).toBe(200)
  return agent
}

const identitiesOf = async (server: TestServer, agent: Agent) => server.auth.oauth.list((await agent.me())?.user.id ?? '')
const PROVED = { email: 'ada@example.com', email_verified: true }

describe('who comes for the first time', () => {
  test('gets an account of what the provider tells, and the same one ever after', async () => {
    await using server = await start()
    const [first, again] = [createAgent(server), createAgent(server)]
    const claims = { sub: '1', preferred_username: 'Grace.Hopper', name: 'Grace Hopper', email: 'Grace@Example.com', email_verified: true }
    expect((await signIn(first, claims, { returnTo: '/welcome?a=1#b' })).location).toBe('/welcome?a=1#b')
    const me = await first.me()
    expect(me?.user).toMatchObject({ username: 'Grace.Hopper', name: 'Grace Hopper', email: 'grace@example.com', emailVerified: true })
    expect(me?.session).toMatchObject({ fresh: true, remembered: false })
    await signIn(again, { sub: '1', email: 'other@example.com', email_verified: true })
    expect((await again.me())?.user).toEqual(me?.user)
    expect(await identitiesOf(server, first)).toMatchObject([{ provider: 'idp', issuer: idp.issuer, subject: '1' }])
  })

  test.each([
    [{ preferred_username: 'ada' }, /^ada-\d{5,6}$/],
    [{ preferred_username: 'ＧＲＡＣＥ Ｈ' }, /^GRACE\.H$/],
    [{ preferred_username: 'someone@corp.example' }, /^someone$/],
    [{ name: 'Åsa Öberg <script>' }, /^Åsa\.Öberg\.script$/],
    [{ preferred_username: '💥', email: 'x.y@example.com', email_verified: false }, /^x\.y$/],
    [{ preferred_username: 'a'.repeat(200) }, /^a{50}$/],
    [{}, /^idp-user-\d{5,6}$/],
  ])('gets a username of %j that is allowed and not taken', async (claims, username) => {
    await using server = await start()
    const agent = createAgent(server)
    await signIn(agent, claims)
    expect((await agent.me())?.user.username).toMatch(username)
  })

  test('is refused while registration is closed, unless the provider may make accounts', async () => {
    await using closed = await start({ registration: 'closed' })
    const answer = await signIn(createAgent(closed), { sub: '1' })
    expect([answer.status, answer.error?.data.reason]).toEqual([403, 'registration_closed'])
    await using company = await start({ registration: 'closed', providerRegistration: 'open' })
    expect((await signIn(createAgent(company), { sub: '1' })).status).toBe(303)
    await using guarded = await start({ registration: 'open', providerRegistration: 'closed' })
    expect((await signIn(createAgent(guarded), { sub: '1' })).status).toBe(403)
  })

  test('OA-5: of 20 at once one account is made, and all are signed in to it', async () => {
    await using server = await start()
    const agents = Array.from({ length: 20 }, () => createAgent(server))
    const answers = await Promise.all(agents.map((agent) => signIn(agent, { sub: 'crowd', preferred_username: 'crowd', ...PROVED })))
    expect(answers.map(({ status }) => status)).toEqual(agents.map(() => 303))
    const users = new Set(await Promise.all(agents.map(async (agent) => (await agent.me())?.user.id)))
    expect(users.size).toBe(1)
    expect((await server.auth.users.list({ search: 'crowd' })).items).toHaveLength(1)
  })

  test('OA-5: the same subject of another issuer is another person', async () => {
    await using server = await start()
    const [one, two] = [createAgent(server), createAgent(server)]
    await signIn(one, { sub: 'same' })
    await signIn(two, { sub: 'same' }, {}, 'other')
    expect((await one.me())?.user.id).not.toBe((await two.me())?.user.id)
  })
})

describe('an account that is there already', () => {
  test('OA-6: is linked when both sides proved the address, and signs in by either way', async () => {
    await using server = await start()
    await server.addUser({ username: 'grace', email: 'ada@example.com', emailVerified: true })
    const agent = createAgent(server)
    expect((await signIn(agent, { sub: '1', ...PROVED })).status).toBe(303)
    expect((await agent.me())?.user.username).toBe('grace')
    await signInWithPassword(server, 'grace')
    expect((await server.auth.audit.list({ type: 'identity_linked' })).items).toHaveLength(1)
  })

  test.each([
    ['false', false],
    ['missing', undefined],
    ['the string "true"', 'true'],
    ['the number 1', 1],
  ])('OA-6: is not linked when email_verified is %s: its owner must sign in first', async (_what, email_verified) => {
    await using server = await start()
    const grace = await server.addUser({ username: 'grace', email: 'ada@example.com', emailVerified: true })
    const agent = createAgent(server)
    const { status, error } = await signIn(agent, { sub: '1', email: 'ADA@example.com', email_verified })
    expect([status, error?.data.reason, error?.message]).toEqual([
      409,
      'conflict',
      'An account has this address; sign in to it first, then link',
    ])
    expect(await agent.me()).toBe(null)
    expect(await server.auth.oauth.list(grace.id)).toEqual([])
  })

  test('OA-6: is not linked when the word about the address is about another address', async () => {
    await using server = await start()
    await server.addUser({ username: 'grace', email: 'ada@example.com', emailVerified: true })
    const agent = createAgent(server)
    idp.setUserinfo({ email: 'own@example.com', email_verified: true })
    const { status } = await signIn(agent, { sub: '1', email: 'ada@example.com' })
    idp.setUserinfo({})
    expect(status).toBe(303)
    expect((await agent.me())?.user).toMatchObject({ email: 'own@example.com', emailVerified: true })
  })

  test.each([
    ['a Kelvin sign for a k', 'kim@example.com', '\u212aim@example.com'],
    ['full-width letters', 'ada@example.com', 'ａｄａ@example.com'],
    ['a full-width at sign', 'ada@example.com', 'ada＠example.com'],
    ['a ligature', 'office@example.com', 'oﬃce@example.com'],
    ['letters in a circle', 'ada@example.com', 'ⓐda@example.com'],
    ['a long s', 'sam@example.com', 'ſam@example.com'],
  ])('OA-6: is not linked to an address that only folding makes its own: %s', async (_what, email, told) => {
    await using server = await start()
    await server.addUser({ username: 'owner', email, emailVerified: true })
    const stranger = createAgent(server)
    expect((await signIn(stranger, { sub: '1', email: told, email_verified: true })).status).toBe(303)
    expect((await stranger.me())?.user).toMatchObject({ email: null, emailVerified: false })
    expect((await stranger.me())?.user.username).not.toBe('owner')
    expect(await identitiesOf(server, stranger)).toMatchObject([{ email: null }])
    expect(await server.auth.oauth.list((await server.auth.users.findByUsername('owner'))?.id ?? '')).toEqual([])
  })

  test('OA-6: is linked to the address that it is but for upper and lower case', async () => {
    await using server = await start()
    const owner = await server.addUser({ username: 'owner', email: 'Zoë@example.com', emailVerified: true })
    const agent = createAgent(server)
    await signIn(agent, { sub: '1', email: 'ZOË@EXAMPLE.com', email_verified: true })
    expect((await agent.me())?.user.id).toBe(owner.id)
  })

  test('OA-5: is not found by the name, the username or an id that the provider tells', async () => {
    await using server = await start()
    const ada = await server.auth.users.findByUsername('ada')
    const agent = createAgent(server)
    await signIn(agent, { sub: ada?.id, preferred_username: 'ada', name: 'ada', id: ada?.id, userId: ada?.id })
    expect((await agent.me())?.user.id).not.toBe(ada?.id)
  })

  test('LG-1: is closed to everybody while it is disabled', async () => {
    await using server = await start()
    const agent = createAgent(server)
    await signIn(agent, { sub: '1', ...PROVED })
    await server.auth.users.disable((await agent.me())?.user.id ?? '')
    const known = await signIn(createAgent(server), { sub: '1' })
    const byAddress = await signIn(createAgent(server), { sub: '2', ...PROVED }, {}, 'other')
    expect([known.status, byAddress.status]).toEqual([403, 403])
  })
})

describe('OA-7: whoever took an address without proof', () => {
  test('has nothing of the account of who proves it: neither password, session, identity nor reset leads there', async () => {
    await using server = await start()
    const squatter = createAgent(server)
    await squatter.post('auth.register', { username: 'victim', password: 'planted by the squatter', email: 'ada@example.com' })
    const planted = (await squatter.me())?.user.id ?? ''
    await signIn(squatter, { sub: 'squatter' }, { link: true }, 'other')
    const { url } = await server.auth.users.startPasswordReset(planted)
    const victim = createAgent(server)
    expect((await signIn(victim, { sub: 'victim', ...PROVED })).status).toBe(303)
    const me = await victim.me()
    expect(me?.user).toMatchObject({ email: 'ada@example.com', emailVerified: true })
    expect(me?.user.id).not.toBe(planted)
    // The address is no longer the squatter's, and names the victim alone.
    expect((await squatter.me())?.user).toMatchObject({ id: planted, email: null, emailVerified: false })
    expect(
      (await createAgent(server).post('auth.login', { username: 'ada@example.com', password: 'planted by the squatter' })).status,
    ).toBe(401)
    const again = createAgent(server)
    await signIn(again, { sub: 'squatter' }, {}, 'other')
    expect((await again.me())?.user.id).toBe(planted)
    const token = url.split('#token=')[1]
    expect((await createAgent(server).post('auth.resetPassword', { token, newPassword: 'another horse battery' })).status).toBe(400)
    expect(await server.auth.oauth.list(me?.user.id ?? '')).toMatchObject([{ subject: 'victim' }])
    expect((await server.auth.audit.list({ type: 'address_released' })).items).toMatchObject([{ subjectId: planted }])
  })

  test('through a provider that proves nothing, is met by the one who proves it as if they had never been', async () => {
    await using server = await start()
    const [squatter, victim] = [createAgent(server), createAgent(server)]
    await signIn(squatter, { sub: 'squatter', email: 'ada@example.com', email_verified: false }, {}, 'other')
    expect((await signIn(victim, { sub: 'victim', ...PROVED })).status).toBe(303)
    expect((await victim.me())?.user.id).not.toBe((await squatter.me())?.user.id)
    expect((await squatter.me())?.user.email).toBe(null)
  })

  test('who proves an address first has it, and a second provider that proves it too joins the same account', async () => {
    await using server = await start()
    const [first, second] = [createAgent(server), createAgent(server)]
    await signIn(first, { sub: '1', ...PROVED })
    await signIn(second, { sub: '2', ...PROVED }, {}, 'other')
    expect((await second.me())?.user.id).toBe((await first.me())?.user.id)
    expect(await identitiesOf(server, first)).toHaveLength(2)
  })
})

describe('linking by a signed-in user', () => {
  test('adds a way to sign in, tells the user’s streams, and leaves the session as it was', async () => {
    await using server = await start()
    const ada = await signInWithPassword(server, 'ada')
    const before = await ada.me()
    expect((await signIn(ada, { sub: '1', ...PROVED }, { link: true, returnTo: '/settings' })).location).toBe('/settings')
    expect(await ada.me()).toEqual(before)
    const elsewhere = createAgent(server)
    await signIn(elsewhere, { sub: '1' })
    expect((await elsewhere.me())?.user.username).toBe('ada')
    const list = await server.fetch('/api/auth.oauth.identities', { headers: { accept: 'application/json', cookie: cookieOf(ada) } })
    expect(((await list.json()) as { result: { data: object[] } }).result.data).toMatchObject([
      { provider: 'idp', email: 'ada@example.com' },
    ])
  })

  test('OA-10: needs a fresh session, both when it begins and one that is still there when it ends', async () => {
    await using server = await start()
    expect((await createAgent(server).post('auth.oauth.begin', { provider: 'idp', link: true })).status).toBe(401)
    const ada = await signInWithPassword(server, 'ada', PASSWORD, true)
    const begun = idp.approve(await ada.begin({ provider: 'idp', link: true }), { sub: 'late' })
    server.clock.advance(16 * MINUTE)
    expect((await ada.post('auth.oauth.begin', { provider: 'idp', link: true })).body.error?.data.reason).toBe('reauthentication_required')
    expect((await ada.comeBack('idp', begun)).status).toBe(400)
    const bob = await signInWithPassword(server, 'bob')
    const under = idp.approve(await bob.begin({ provider: 'idp', link: true }), { sub: 'bob' })
    await bob.post('auth.logout', {})
    expect((await bob.comeBack('idp', under)).status).toBe(401)
    expect(await server.auth.oauth.list((await server.auth.users.findByUsername('bob'))?.id ?? '')).toEqual([])
  })

  test('never links to whoever is signed in by then instead', async () => {
    await using server = await start()
    const browser = await signInWithPassword(server, 'ada')
    const begun = idp.approve(await browser.begin({ provider: 'idp', link: true }), { sub: '1' })
    await browser.post('auth.login', { username: 'bob', password: PASSWORD })
    expect((await browser.comeBack('idp', begun)).status).toBe(401)
    expect(await identitiesOf(server, browser)).toEqual([])
  })

  test('of an account that signs in another is 409, and twice is the same as once', async () => {
    await using server = await start()
    const [ada, bob] = [await signInWithPassword(server, 'ada'), await signInWithPassword(server, 'bob')]
    expect((await signIn(ada, { sub: '1' }, { link: true })).status).toBe(303)
    expect((await signIn(ada, { sub: '1' }, { link: true })).status).toBe(303)
    const { status, error } = await signIn(bob, { sub: '1' }, { link: true })
    expect([status, error?.message]).toEqual([409, 'This account of IdP signs in another user'])
    expect(await identitiesOf(server, ada)).toHaveLength(1)
  })

  test('AD-2 OA-10: unlinking takes one’s own away, never the last way to sign in, and not somebody else’s', async () => {
    await using server = await start()
    const agent = createAgent(server)
    await signIn(agent, { sub: '1' })
    const [identity] = await identitiesOf(server, agent)
    const unlink = async (by: Agent) => (await by.post('auth.oauth.unlink', { id: identity?.id })).status
    expect(await unlink(agent)).toBe(409)
    expect(await unlink(await signInWithPassword(server, 'bob'))).toBe(404)
    expect((await agent.post('auth.changePassword', { newPassword: 'a password at last' })).status).toBe(200)
    expect(await unlink(agent)).toBe(200)
    expect(await unlink(agent)).toBe(404)
    const back = createAgent(server)
    await signIn(back, { sub: '1' })
    expect((await back.me())?.user.id).not.toBe((await agent.me())?.user.id)
  })
})

describe('the session', () => {
  test('RM-1: is remembered when the sign-in asked for it', async () => {
    await using server = await start()
    const agent = createAgent(server)
    const { headers } = await signIn(agent, { sub: '1' }, { remember: true })
    expect(headers.getSetCookie().find((line) => line.startsWith('__Host-session='))).toMatch(
      /Max-Age=2592000; .*HttpOnly; Secure; SameSite=Lax$/,
    )
    expect((await agent.me())?.session).toMatchObject({ remembered: true, fresh: true })
  })

  test('LG-2: is a new one, and ends that of whoever was signed in before', async () => {
    await using server = await start()
    const agent = await signInWithPassword(server, 'ada')
    const before = agent.cookies.get('__Host-session') ?? ''
    await signIn(agent, { sub: '1' })
    expect(agent.cookies.get('__Host-session')).not.toBe(before)
    const old = await server.fetch('/api/guarded', { headers: { cookie: `__Host-session=${before}` } })
    expect(old.status).toBe(401)
  })

  test('of a user without a password is fresh again once the provider has asked who they are', async () => {
    await using server = await start()
    const agent = createAgent(server)
    await signIn(agent, { sub: '1' }, { remember: true })
    const before = await agent.me()
    server.clock.advance(20 * MINUTE)
    expect((await agent.post('auth.account.delete', {})).body.error?.data.reason).toBe('reauthentication_required')
    const url = await agent.begin({ provider: 'idp' })
    expect(Object.fromEntries(new URL(url).searchParams)).toMatchObject({ prompt: 'login', max_age: '0' })
    expect((await agent.comeBack('idp', idp.approve(url, { sub: '1', auth_time: Math.floor(Date.now() / 1000) }))).status).toBe(303)
    expect((await agent.me())?.session).toMatchObject({ id: before?.session.id, fresh: true, remembered: true })
    expect((await agent.post('auth.account.delete', {})).status).toBe(200)
    expect(await agent.me()).toBe(null)
  })

  test('RM-2: stays as it was when the provider did not ask again', async () => {
    await using server = await start()
    const agent = createAgent(server)
    await signIn(agent, { sub: '1' })
    server.clock.advance(20 * MINUTE)
    const stale = Math.floor(Date.now() / 1000) - 3600
    const { status, error } = await agent.comeBack(
      'idp',
      idp.approve(await agent.begin({ provider: 'idp' }), { sub: '1', auth_time: stale }),
    )
    expect([status, error?.data.reason]).toEqual([403, 'reauthentication_required'])
    expect((await agent.me())?.session.fresh).toBe(false)
  })

  test('RM-2: stays as it was when the provider does not say in its signed word when it asked, and nothing is done on it', async () => {
    await using server = await start()
    const agent = createAgent(server)
    await signIn(agent, { sub: '1' })
    server.clock.advance(20 * MINUTE)
    const now = Math.floor(Date.now() / 1000)
    // Whoever sits there deleted prompt and max_age from the address.
    idp.setUserinfo({ auth_time: now })
    for (const claims of [{}, { auth_time: String(now) }, { auth_time: now + 3600 }, { auth_time: null }]) {
      const { status, error } = await agent.comeBack('idp', idp.approve(await agent.begin({ provider: 'idp' }), { sub: '1', ...claims }))
      expect([status, error?.data.reason].join(' ')).toMatch(/^(403 reauthentication_required|400 sign_in_failed)$/)
    }
    idp.setUserinfo({})
    expect((await agent.me())?.session.fresh).toBe(false)
    expect((await agent.post('auth.changePassword', { newPassword: 'a password at last' })).body.error?.data.reason).toBe(
      'reauthentication_required',
    )
    const exported = await server.fetch('/api/auth.account.export', { headers: { cookie: cookieOf(agent) } })
    expect(exported.status).toBe(403)
  })

  test('LO-2: a password change or disabling voids what the user had under way', async () => {
    await using server = await start()
    const ada = await signInWithPassword(server, 'ada')
    const begun = idp.approve(await ada.begin({ provider: 'idp', link: true }), { sub: '1' })
    await ada.post('auth.changePassword', { currentPassword: PASSWORD, newPassword: 'another horse battery' })
    expect((await ada.comeBack('idp', begun)).status).toBe(400)
  })
})

test('PW-7: a password is set without the current one only where there is none', async () => {
  await using server = await start()
  const ada = await signInWithPassword(server, 'ada')
  const { status, body } = await ada.post('auth.changePassword', { newPassword: 'another horse battery' })
  expect([status, body.error?.data.issues]).toEqual([400, [{ path: ['currentPassword'], message: 'Enter your password' }]])
  expect((await ada.post('auth.account.delete', {})).status).toBe(400)
})

test('oauth.providers lists them, and an unknown one is 404 and named', async () => {
  await using server = await start()
  const { api } = server.client()
  expect(await api.auth.oauth.providers.query()).toEqual([
    { id: 'idp', name: 'IdP' },
    { id: 'other', name: 'Other' },
  ])
  await expect(api.auth.oauth.begin.mutate({ provider: 'nobody' })).rejects.toThrow('No such provider; there are idp, other')
})

test('account.export tells of identities, and deleting the account takes them away', async () => {
  await using server = await start()
  const agent = createAgent(server)
  await signIn(agent, { sub: '1' })
  const id = (await agent.me())?.user.id ?? ''
  const exported = await server.fetch('/api/auth.account.export', { headers: { accept: 'application/json', cookie: cookieOf(agent) } })
  expect(((await exported.json()) as { result: { data: { identities: object[] } } }).result.data.identities).toMatchObject([
    { subject: '1' },
  ])
  await agent.post('auth.account.delete', {})
  expect(await server.auth.oauth.list(id)).toEqual([])
})

test('several tabs of one browser may have sign-ins under way at once', async () => {
  await using server = await start()
  const browser = createAgent(server)
  const tabs = [
    await browser.begin({ provider: 'idp' }),
    await browser.begin({ provider: 'other' }),
    await browser.begin({ provider: 'idp' }),
  ]
  const [first, second, third] = [
    idp.approve(tabs[0] ?? '', { sub: '1' }),
    other.approve(tabs[1] ?? '', { sub: '2' }),
    idp.approve(tabs[2] ?? '', { sub: '3' }),
  ]
  expect((await browser.comeBack('idp', third)).status).toBe(303)
  expect((await browser.comeBack('idp', first)).status).toBe(303)
  expect((await browser.comeBack('other', second)).status).toBe(303)
})

test('RL-4: beginning is limited per address', async () => {
  await using server = await start({ limits: { callsPerAddress: 3 } })
  const statuses = []
  for (let i = 0; i < 5; i += 1) statuses.push((await createAgent(server).post('auth.oauth.begin', { provider: 'idp' })).status)
  expect(statuses).toEqual([200, 200, 200, 429, 429])
})

const fails = () => Promise.reject(new Error('disk on fire'))

test('SS-7: while the store cannot be reached, begin and callback are 503', async () => {
  let broken = false
  await using server = await start({
    wrapStorage: (storage) => ({
      ...storage,
      transactions: {
        ...storage.transactions,
        put: (record) => (broken ? fails() : storage.transactions.put(record)),
        take: (...keys) => (broken ? fails() : storage.transactions.take(...keys)),
      },
    }),
  })
  const agent = createAgent(server)
  const begun = idp.approve(await agent.begin({ provider: 'idp' }), { sub: '1' })
  broken = true
  expect((await agent.post('auth.oauth.begin', { provider: 'idp' })).status).toBe(503)
  const answer = await agent.comeBack('idp', begun)
  expect([answer.status, answer.error?.data.reason, answer.headers.getSetCookie()]).toEqual([503, 'unavailable', []])
  expect(answer.text).not.toContain('fire')
  broken = false
  expect((await agent.comeBack('idp', begun)).status).toBe(303)
})

function cookieOf(agent: Agent): string {
  return `__Host-session=${agent.cookies.get('__Host-session') ?? ''}`
}
