import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { createClient as createPlainClient } from '@trpc-login/client'
import { fileStore, reasonOf } from '@trpc-login/client/node'
import type { Storage } from '@trpc-login/server'
import { Agent, fetch as undiciFetch } from 'undici'
import { describe, expect, onTestFinished, test } from 'vitest'
import { temporaryDirectory } from '../support/process.ts'
import { until } from '../support/remote.ts'
import { type AppRouter, cookieOf, PASSWORD, startServer } from '../support/server.ts'

const OTHER_PASSWORD = 'staple battery horse'
const reason = (call: Promise<unknown>) => call.then(() => 'passed', reasonOf)

/** Holds back the next few that come by, until they are let go. */
function createGate() {
  let left = 0
  let gate = Promise.withResolvers<void>()
  let full = Promise.withResolvers<void>()
  return {
    async pass() {
      if (left === 0) return
      left -= 1
      if (left === 0) full.resolve()
      await gate.promise
    },
    hold(count: number) {
      left = count
      gate = Promise.withResolvers()
      full = Promise.withResolvers()
      return { reached: full.promise, release: gate.resolve }
    },
  }
}

/** A server on which look-ups of sessions can be held back, and the answers of those who have replaced a token. */
async function startHeldServer() {
  const [lookups, replacements] = [createGate(), createGate()]
  const server = await startServer({
    wrapStorage: (storage): Storage => ({
      ...storage,
      sessions: {
        ...storage.sessions,
        find: async (hash) => lookups.pass().then(() => storage.sessions.find(hash)),
        rotate: async (...args) => afterwards(storage.sessions.rotate(...args)),
      },
      users: { ...storage.users, setPassword: async (...args) => afterwards(storage.users.setPassword(...args)) },
    }),
  })
  async function afterwards<T>(write: Promise<T>): Promise<T> {
    const written = await write
    await replacements.pass()
    return written
  }

  const agent = new Agent({ connect: { ca: server.ca } })
  let answers = 0
  let refusals = 0
  const client = createPlainClient<AppRouter>({
    url: server.url,
    async fetch(input, init) {
      const response = await undiciFetch(input as string, { ...(init as object), dispatcher: agent })
      answers += 1
      if (response.status === 401) refusals += 1
      return response as unknown as Response
    },
  })
  await client.api.auth.login.mutate({ username: 'ada', password: PASSWORD })
  let password = PASSWORD
  onTestFinished(async () => {
    await client.close()
    await agent.destroy()
    await server[Symbol.asyncDispose]()
  })
  return {
    server,
    client,
    lookups,
    replacements,
    /** Resolves once the server has answered so many requests from now on. */
    answered(count: number) {
      const enough = answers + count
      return until(() => answers >= enough)
    },
    refusals: () => refusals,
    reauthenticate: () => client.api.auth.reauthenticate.mutate({ password }),
    async changePassword() {
      const newPassword = otherThan(password)
      await client.api.auth.changePassword.mutate({ currentPassword: password, newPassword })
      password = newPassword
    },
    /** With the password that will be right by then. */
    again: (replace: string) =>
      reason(client.api.auth.reauthenticate.mutate({ password: replace === 'changePassword' ? otherThan(password) : password })),
  }
}

function otherThan(password: string): string {
  return password === PASSWORD ? OTHER_PASSWORD : PASSWORD
}

type Held = Awaited<ReturnType<typeof startHeldServer>>

/** Calls of each kind, and what they give; every one is one request. */
const KINDS: Record<string, { call: (held: Held, replace: string) => Promise<unknown>; gives: unknown }> = {
  'a query': { call: ({ client }) => client.api.guarded.query(), gives: 'ada' },
  'a mutation': { call: ({ client }) => client.api.authFunc.mutate({ a: 1 }), gives: { ok: true, msg: 'auth_func({"a":1}),user_id=ada' } },
  'a batch': {
    call: ({ client: { api } }) => Promise.all([api.guarded.query(), api.fresh.query(), api.guarded.query()]),
    gives: ['ada', 'ada', 'ada'],
  },
  'auth.me, which anybody may ask': { call: async ({ client }) => (await client.api.auth.me.query())?.user.username, gives: 'ada' },
  'a subscription': {
    call: ({ client: { api } }) =>
      new Promise((resolve, reject) => {
        const { unsubscribe } = api.ticks.subscribe(undefined, {
          onData({ username }) {
            resolve(username)
            unsubscribe()
          },
          onError: reject,
        })
      }),
    gives: 'ada',
  },
  'another re-authentication': { call: ({ again }, replace) => again(replace), gives: 'passed' },
}

describe.each(['reauthenticate', 'changePassword'] as const)('CL-5: calls under way while %s replaces the token', (replace) => {
  test('reach the server once more with the new one, when it was heard of before they were refused', async () => {
    const held = await startHeldServer()
    const states: string[] = []
    held.client.session.subscribe(({ status }) => states.push(status))
    for (const [name, { call, gives }] of Object.entries(KINDS)) {
      const calls = held.lookups.hold(1)
      const result = call(held, replace)
      await calls.reached
      await held[replace]()
      calls.release()
      expect(await result, name).toEqual(gives)
    }
    expect(states).not.toContain('signed_out')
  })

  test('reach it once more also when they were refused before the new one was heard of', async () => {
    const held = await startHeldServer()
    const states: string[] = []
    held.client.session.subscribe(({ status }) => states.push(status))
    for (const [name, { call, gives }] of Object.entries(KINDS)) {
      const calls = held.lookups.hold(1)
      const result = call(held, replace)
      await calls.reached
      const late = held.replacements.hold(1)
      const replaced = held[replace]()
      await late.reached
      const refused = held.answered(1)
      calls.release()
      await refused
      late.release()
      await replaced
      expect(await result, name).toEqual(gives)
    }
    expect(states).not.toContain('signed_out')
  })
})

test('CL-5: of 160 queries while the token is replaced eight times none is lost, while callers without the SDK lose those under way', async () => {
  const { server, client, refusals, reauthenticate } = await startHeldServer()
  const results: Promise<unknown>[] = []
  for (let round = 1; round <= 8; round += 1) {
    const replaced = reauthenticate()
    while (results.length < round * 20) {
      results.push(client.api.guarded.query())
      await nextTurn()
    }
    await replaced
  }
  expect(new Set(await Promise.all(results))).toEqual(new Set(['ada']))
  expect([results.length, client.session.state.status]).toEqual([160, 'signed_in'])
  console.log(`160 queries during 8 re-authentications: ${refusals()} requests were refused, 0 queries lost`)

  const cookie = cookieOf((await server.post('auth.login', { username: 'bob', password: PASSWORD })).headers)
  await server.post('auth.reauthenticate', { password: PASSWORD }, { cookie })
  expect((await server.post('authFunc', {}, { cookie })).body.error?.data.reason).toBe('not_signed_in')
})

test('of five re-authentications at once none signs the client out', async () => {
  await using server = await startServer()
  const { api, session } = await server.signIn()
  const states: string[] = []
  session.subscribe(({ status }) => states.push(status))
  const outcomes = await Promise.all(Array.from({ length: 5 }, () => reason(api.auth.reauthenticate.mutate({ password: PASSWORD }))))
  expect(outcomes).toContain('passed')
  expect(outcomes.filter((outcome) => outcome !== 'passed' && outcome !== 'conflict')).toEqual([])
  expect([await api.guarded.query(), session.state.status, states.includes('signed_out')]).toEqual(['ada', 'signed_in', false])
})

test('what was asked for one user is not asked again for another who signed in meanwhile', async () => {
  const held = await startHeldServer()
  const { api, session } = held.client
  const calls = held.lookups.hold(1)
  const late = reason(api.authFunc.mutate({ a: 1 }))
  await calls.reached
  await api.auth.login.mutate({ username: 'bob', password: PASSWORD })
  calls.release()
  expect(await late).toBe('not_signed_in')
  expect([session.current?.user.username, await api.guarded.query()]).toEqual(['bob', 'bob'])
})

test('a call that is refused however often the token is replaced is sent four times at most', async () => {
  let asked = 0
  let signIns = 0
  const fake = createServer((req, res) => {
    const isSignIn = req.url === '/api/auth.login'
    if (isSignIn) signIns += 1
    else asked += 1
    const error = { message: 'no', code: -32001, data: { code: 'UNAUTHORIZED', httpStatus: 401, reason: 'not_signed_in' } }
    const answer = isSignIn ? { result: { data: { user: { id: 'u1' }, session: { id: 's1' } } } } : [{ error }]
    res.writeHead(isSignIn ? 200 : 401, {
      'content-type': 'application/json',
      ...(isSignIn ? { 'set-cookie': `__Host-session=t${signIns}; Path=/; Secure` } : {}),
    })
    // Each refusal comes while somebody signs in.
    setTimeout(() => res.end(JSON.stringify(answer)), isSignIn ? 40 : 0)
  })
  await new Promise<void>((resolve) => void fake.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void fake.close())
  const url = `http://127.0.0.1:${(fake.address() as AddressInfo).port}`
  const { api } = createPlainClient<AppRouter>({ url, allowInsecureLoopback: true, transformer: null })
  const credentials = { username: 'ada', password: PASSWORD }
  await api.auth.login.mutate(credentials)
  const refused = reason(api.guarded.query())
  while ((await Promise.race([refused, api.auth.login.mutate(credentials)])) !== 'not_signed_in');
  expect([await refused, asked]).toEqual(['not_signed_in', 4])
  expect(signIns).toBeGreaterThanOrEqual(4)
})

describe('two programs with one session file', () => {
  test('CL-3: go on with the token that the other has left there, and neither deletes it', async () => {
    await using server = await startServer()
    const store = fileStore(`${temporaryDirectory()}/cookies.json`)
    const first = await server.signIn('ada', { store })
    const other = server.client({ store })
    expect(await other.api.guarded.query()).toBe('ada')
    const before = await store.load(server.url)
    await first.api.auth.reauthenticate.mutate({ password: PASSWORD })
    const after = await store.load(server.url)
    expect(after?.value).not.toBe(before?.value)
    expect(await Promise.all([other.api.guarded.query(), other.api.authFunc.mutate({})])).toEqual([
      'ada',
      { ok: true, msg: 'auth_func({}),user_id=ada' },
    ])
    expect([other.session.state.status, (await store.load(server.url))?.value]).toEqual(['signed_in', after?.value])
  })

  test('CL-3: one whose session has ended leaves alone what the other has put there, and does not act for its user', async () => {
    await using server = await startServer()
    const store = fileStore(`${temporaryDirectory()}/cookies.json`)
    const first = await server.signIn('ada', { store })
    const other = server.client({ store })
    expect((await other.session.refresh())?.user.username).toBe('ada')
    await first.api.auth.login.mutate({ username: 'bob', password: PASSWORD })
    const kept = await store.load(server.url)
    expect(await reason(other.api.authFunc.mutate({}))).toBe('not_signed_in')
    expect((await store.load(server.url))?.value).toBe(kept?.value)
    expect([other.session.current?.user.username, await first.api.guarded.query()]).toEqual(['bob', 'bob'])
  })
})
