import type { ServerResponse } from 'node:http'
import type { ContextRequest } from '@trpc-login/server'
import { expect, test } from 'vitest'
import { type Behind, PLACES, startBehind } from '../support/behind.ts'
import { PASSWORD } from '../support/server.ts'

const SESSION = /^__Host-session=[\w-]{43}; Path=\/; HttpOnly; Secure; SameSite=Lax$/
const CLEARED = /^__Host-session=; Max-Age=0; Path=\/; HttpOnly; Secure; SameSite=Lax$/
const LOGIN = { username: 'ada', password: PASSWORD }

/** All that would set a cookie; the first two need no session. */
const ACTS: readonly (readonly [path: string, input: unknown])[] = [
  ['auth.login', LOGIN],
  ['auth.register', { username: 'eve', password: PASSWORD }],
  ['auth.oauth.begin', { provider: 'none' }],
  ['auth.oauth.finish', { provider: 'none', parameters: {} }],
  ['auth.reauthenticate', { password: PASSWORD }],
  ['auth.changePassword', { currentPassword: PASSWORD, newPassword: `${PASSWORD} more` }],
  ['auth.logout', {}],
  ['auth.account.delete', { password: PASSWORD }],
]

const pairOf = (line = '') => line.split(';', 1)[0] ?? ''

test.each(PLACES)('SS-3 %s: whatever signs in or out sets its cookie, once, and nobody keeps the answer', async (place) => {
  await using app = await startBehind(place, { registration: 'open' })
  let cookie = ''
  const act = async (path: string, input: unknown) => {
    const { status, cookies, headers } = await app.post(path, input, { cookie })
    expect([path, status, cookies.length]).toEqual([path, 200, 1])
    expect(headers.get('cache-control')).toBe('no-store')
    cookie = pairOf(cookies[0])
    return cookies[0]
  }
  const seen = new Set<string>()
  for (const [path, input] of [
    ['auth.login', LOGIN],
    ['auth.login', LOGIN],
    ['auth.reauthenticate', { password: PASSWORD }],
    ['auth.changePassword', { currentPassword: PASSWORD, newPassword: `${PASSWORD} more` }],
  ] as const) {
    expect(await act(path, input)).toMatch(SESSION)
    expect((await app.post('writesAsUser', {}, { cookie })).status).toBe(200)
    seen.add(cookie)
  }
  expect(seen.size).toBe(4)
  expect(await act('auth.logout', {})).toMatch(CLEARED)
  cookie = ''
  expect(await act('auth.register', { username: 'eve', password: PASSWORD })).toMatch(SESSION)
  expect((await app.get('auth.me', { cookie })).headers.get('cache-control')).toBe('no-store')
  expect(await act('auth.account.delete', { password: PASSWORD })).toMatch(CLEARED)
})

/** Ways in which an application sets cookies of its own beside ours. */
const NEIGHBOURS = {
  'responseMeta with Headers': { responseMeta: () => ({ headers: new Headers([['set-cookie', 'mine=1']]) }) },
  'responseMeta with an object': { responseMeta: () => ({ headers: { 'set-cookie': 'mine=1' } }) },
  'a cookie before ours': {
    context(request: ContextRequest, make: () => ReturnType<Behind['auth']['createContext']>) {
      setOwn(request)
      return make()
    },
  },
} as const

function setOwn({ res, resHeaders }: ContextRequest): void {
  if (resHeaders !== undefined) resHeaders.append('set-cookie', 'mine=1')
  else if (res !== undefined && 'raw' in res) res.header('set-cookie', 'mine=1')
  else (res as ServerResponse).setHeader('set-cookie', 'mine=1')
}

test.each(PLACES)('SS-3 %s: cookies of the application and ours are both sent', async (place) => {
  for (const [name, options] of Object.entries(NEIGHBOURS)) {
    if (place.startsWith('ours') && 'responseMeta' in options) continue
    await using app = await startBehind(place, options)
    const { cookies, status } = await app.post('auth.login', LOGIN)
    expect([name, status, cookies.length]).toEqual([name, 200, 2])
    expect(cookies).toEqual(expect.arrayContaining(['mine=1', expect.stringMatching(SESSION)]))
    const cleared = await app.post('auth.logout', {}, { cookie: pairOf(cookies.find((line) => SESSION.test(line))) })
    expect(cleared.cookies).toEqual(expect.arrayContaining(['mine=1', expect.stringMatching(CLEARED)]))
  }
})

test.each(PLACES)('SS-3 %s: what sets all cookies anew after ours takes ours along', async (place) => {
  let request: ContextRequest | undefined
  const options = {
    context: (given: ContextRequest, make: () => ReturnType<Behind['auth']['createContext']>) => ((request = given), make()),
    responseMeta() {
      const target = request?.resHeaders ?? (request?.res as ServerResponse)
      if ('set' in target) target.set('set-cookie', 'mine=2')
      else target.setHeader?.('set-cookie', ['mine=2'])
      return {}
    },
  }
  if (place.startsWith('ours') || place === 'fastify' || place === 'lambda') return
  await using app = await startBehind(place, options)
  expect((await app.post('auth.login', LOGIN)).cookies).toEqual(['mine=2', expect.stringMatching(SESSION)])
})

/** All that these acts could have changed. */
async function stateOf({ auth, lines }: Behind) {
  const ada = await auth.users.findByUsername('ada')
  const { items: users } = await auth.users.list({})
  const { items: entries } = await auth.audit.list({})
  const sessions = await auth.sessions.list(ada?.id ?? '')
  return {
    ada,
    users: users.map(({ username }) => username),
    entries: entries.map(({ type }) => type),
    sessions: sessions.map(({ id, fresh }) => [id, fresh]),
    // What our server says of an answer that it could not write is no act.
    events: lines.map(({ event }) => event).filter((event) => event !== 'procedure_failed'),
  }
}

/** Why a cookie cannot be set, as an application or a caller may have it. */
const OBSTACLES = {
  'no response': [
    (request: ContextRequest) => ({ req: request.req, ...(request.info && { info: request.info }) }),
    {},
    /cannot be set here: createContext was given neither res nor resHeaders/,
  ],
  // Most adapters cannot say anything then, and leave the body empty.
  'a head that was sent': [sendHead, {}, /^$|cannot be set any more: the head of the answer was sent/],
  'a stream': [
    (request: ContextRequest) => request,
    { 'trpc-accept': 'application/jsonl' },
    /cannot be streamed; use httpLink or httpBatchLink/,
  ],
} as const

/** Where an obstacle cannot be: our server makes the context itself, and two adapters know no head. */
const CANNOT_BE = { 'no response': ['ours'], 'a head that was sent': ['fetch', 'lambda'], 'a stream': [] as string[] }

function sendHead(request: ContextRequest): ContextRequest {
  const { res } = request
  if (res !== undefined) ('raw' in res ? (res.raw as ServerResponse) : (res as ServerResponse)).flushHeaders()
  return request
}

test.each(PLACES)(
  'SS-3 %s: where no cookie can be set, the call fails with the reason before anything is looked at or written',
  async (place) => {
    const table: Record<string, string> = {}
    for (const name of Object.keys(OBSTACLES) as (keyof typeof OBSTACLES)[]) {
      const [change, headers, message] = OBSTACLES[name]
      if (CANNOT_BE[name].some((other) => place.startsWith(other))) continue
      let changes = false
      const app: Behind = await startBehind(place, {
        registration: 'open',
        context: (request, make) => (changes ? app.auth.createContext(change(request)) : make()),
      })
      await using _app = app
      const cookie = await app.signIn()
      const before = await stateOf(app)
      changes = true
      for (const [path, input] of ACTS) {
        const isStream = 'trpc-accept' in headers
        const { status, cookies, body } = await app.post(isStream ? `${path}?batch=1` : path, isStream ? { 0: input } : input, {
          cookie,
          ...headers,
        })
        expect(body, `${name}: ${path}`).toMatch(message)
        expect(cookies).toEqual([])
        table[name] = String(status)
      }
      expect(await stateOf(app)).toEqual(before)
      changes = false
      expect((await app.post('writesFresh', {}, { cookie })).status).toBe(200)
    }
    console.log(place, table)
  },
)

const OTHER = { username: 'bob', password: PASSWORD }
type Caller = ReturnType<Behind['router']['createCaller']>

/** What a program may do within one request, and who is signed in by its answer. */
const IN_ONE_REQUEST: Readonly<Record<string, [(caller: Caller) => Promise<unknown>, string | null]>> = {
  'two logins': [async ({ auth }) => (await auth.login(LOGIN), auth.login(OTHER)), 'bob'],
  'two logins of one account': [async ({ auth }) => (await auth.login(LOGIN), auth.login(LOGIN)), 'ada'],
  'a login, then a logout': [async ({ auth }) => (await auth.login(LOGIN), auth.logout()), null],
  'a logout, then a login': [async ({ auth }) => (await auth.logout(), auth.login(LOGIN)), 'ada'],
  'a login, a logout, a login': [async ({ auth }) => (await auth.login(LOGIN), await auth.logout(), auth.login(OTHER)), 'bob'],
  'a login, then a confirmation': [async ({ auth }) => (await auth.login(LOGIN), auth.reauthenticate({ password: PASSWORD })), 'ada'],
  'a registration, then a login': [
    async ({ auth }) => (await auth.register({ username: 'eve', password: PASSWORD }), auth.login(LOGIN)),
    'ada',
  ],
}

test.each(Object.entries(IN_ONE_REQUEST))(
  'LG-2: of %s in one request the last counts, with one cookie and nothing left behind',
  async (...row) => {
    const [, [act, username]] = row
    await using app = await startBehind('standalone', { registration: 'open' })
    for (const isSignedIn of [false, true]) {
      await app.auth.sessions.revokeAll(null)
      const cookie = isSignedIn ? await app.signIn() : ''
      const resHeaders = new Headers()
      const caller = app.router.createCaller(app.auth.createContext({ req: { headers: { cookie } }, resHeaders }))
      await act(caller)
      expect((await caller.auth.me())?.user.username ?? null).toBe(username)
      const cookies = resHeaders.getSetCookie()
      if (username === null) expect(cookies).toEqual(isSignedIn ? [expect.stringMatching(CLEARED)] : [])
      else expect(cookies).toEqual([expect.stringMatching(SESSION)])
      expect(await liveSessions(app)).toEqual(username === null ? [] : [username])
      await app.auth.users.delete((await app.auth.users.findByUsername('eve'))?.id ?? '').catch(() => {})
    }
  },
)

test('LG-2: twenty logins at once in one request leave one session and one cookie', async () => {
  await using app = await startBehind('standalone')
  const resHeaders = new Headers()
  const caller = app.router.createCaller(app.auth.createContext({ req: { headers: {} }, resHeaders }))
  await Promise.all(Array.from({ length: 20 }, (_, n) => caller.auth.login(n % 2 === 0 ? LOGIN : OTHER)))
  const cookies = resHeaders.getSetCookie()
  expect(cookies).toHaveLength(1)
  const [username] = await liveSessions(app)
  const me = await app.get('auth.me', { cookie: pairOf(cookies[0]) })
  expect([(await liveSessions(app)).length, me.body.includes(`"username":"${username}"`)]).toEqual([1, true])
})

/** Whose sessions are live, one name for each. */
async function liveSessions({ auth }: Behind): Promise<string[]> {
  const { items } = await auth.users.list({})
  const sessions = await Promise.all(items.map(async ({ id, username }) => (await auth.sessions.list(id)).map(() => username)))
  return sessions.flat()
}
