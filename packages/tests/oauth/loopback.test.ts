import { createClient, reasonOf } from '@trpc-login/client/node'
import { oidc } from '@trpc-login/server/providers'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { createAgent } from '../support/agent.ts'
import { PASSWORD, startServer, type TestServer } from '../support/server.ts'
import { type Claims, startTestProvider, type TestProvider } from '../support/test-provider.ts'

let idp: TestProvider
let server: TestServer
beforeAll(async () => {
  idp = await startTestProvider()
  server = await startServer({
    registration: 'open',
    providers: [oidc({ id: 'idp', name: 'IdP', issuer: idp.issuer, clientId: 'app', clientSecret: 'secret' })],
  })
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await idp[Symbol.asyncDispose]()
})

/** A person's browser, on the same machine or another: it follows the provider and our callback as far as they lead. */
async function followAsBrowser(url: string, claims: Claims, change: (parameters: URLSearchParams) => void = () => {}) {
  const parameters = idp.approve(url, claims)
  change(parameters)
  const { status, location, headers } = await createAgent(server).comeBack('idp', parameters)
  expect(headers.getSetCookie()).toEqual([])
  return { status, location: location ?? '' }
}

test('the answer goes from the callback to the listener on 127.0.0.1, and the cookie ends up in the program alone', async () => {
  const { api, session } = server.client()
  let landed: Promise<Response> | undefined
  const signedIn = await session.signInWith('idp', {
    async open(url) {
      const { status, location } = await followAsBrowser(url, { sub: 'program', preferred_username: 'program' })
      expect([status, new URL(location).origin.replace(/\d+$/, '')]).toEqual([303, 'http://127.0.0.1:'])
      landed = fetch(location)
    },
  })
  expect(signedIn.user.username).toBe('program')
  const landing = await landed
  expect(await landing?.text()).toBe('You are signed in. You can close this window.')
  expect(landing?.headers.get('content-security-policy')).toBe("default-src 'none'")
  expect(await api.guarded.query()).toBe('program')
  await expect(fetch(landing?.url ?? '')).rejects.toThrow('fetch failed')
})

test('whatever else knocks at the listener is sent away, and the sign-in goes on', async () => {
  const { session } = server.client()
  const strays: number[] = []
  await session.signInWith('idp', {
    async open(url) {
      const { location } = await followAsBrowser(url, { sub: 'strays' })
      const { origin, search } = new URL(location)
      for (const stray of ['/', '/?state=wrong&code=x', `/favicon.ico${search}`]) strays.push((await fetch(origin + stray)).status)
      strays.push((await fetch(location, { method: 'POST' })).status)
      await fetch(location)
    },
  })
  expect(strays).toEqual([404, 404, 404, 404])
})

test('OA-2: another program that learns the address and the answer cannot finish the sign-in', async () => {
  const [owner, thief] = [server.client(), server.client()]
  const stolen = Promise.withResolvers<unknown>()
  await owner.session.signInWith('idp', {
    async open(url) {
      const { location } = await followAsBrowser(url, { sub: 'owner' })
      const parameters = Object.fromEntries(new URL(location).searchParams)
      await thief.api.auth.oauth.finish.mutate({ provider: 'idp', parameters }).catch((error: unknown) => stolen.resolve(reasonOf(error)))
      await fetch(location)
    },
  })
  expect(await stolen.promise).toBe('sign_in_failed')
  expect(thief.session.current).toBe(null)
})

test('a refusal is the program’s error, with its reason, and the browser is told to look there', async () => {
  const { session } = server.client()
  let text: Promise<string> | undefined
  const refused = session.signInWith('idp', {
    async open(url) {
      const { location } = await followAsBrowser(url, {}, (parameters) => {
        parameters.delete('code')
        parameters.set('error', 'access_denied')
      })
      text = fetch(location).then((response) => response.text())
    },
  })
  await expect(refused).rejects.toThrow('The sign-in was cancelled')
  await expect(refused).rejects.toSatisfy((error) => reasonOf(error) === 'sign_in_failed')
  expect(await text).toContain('The program in which it began says why')
  expect(session.current).toBe(null)
})

test('giving up and an address that cannot be opened both end it, and close the listener', async () => {
  const { session } = server.client()
  const controller = new AbortController()
  let landing = ''
  const given = session.signInWith('idp', {
    signal: controller.signal,
    open: async (url) => {
      landing = (await followAsBrowser(url, { sub: 'late' })).location
      controller.abort(new Error('enough'))
    },
  })
  await expect(given).rejects.toThrow('enough')
  await expect(fetch(landing)).rejects.toThrow('fetch failed')
  const broken = session.signInWith('idp', {
    open() {
      throw new Error('no browser here')
    },
  })
  await expect(broken).rejects.toThrow('no browser here')
})

test('a signed-in program links an account, and prints the address where nobody opens it', async () => {
  const { api, session } = await server.signIn('bob')
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
  const linking = session.signInWith('idp', { link: true })
  await vi.waitFor(() => expect(written).toHaveBeenCalled())
  const url = /https:\S+/.exec(String(written.mock.calls[0]?.[0]))?.[0] ?? ''
  written.mockRestore()
  await fetch((await followAsBrowser(url, { sub: 'of bob' })).location)
  expect((await linking).user.username).toBe('bob')
  expect(await api.auth.oauth.identities.query()).toMatchObject([{ subject: 'of bob' }])
})

test('only ports that programs may have are accepted, and a browser’s sign-in never leads to one', async () => {
  const agent = createAgent(server)
  for (const loopbackPort of [0, 80, 65_536, 1.5, '4711'])
    expect((await agent.post('auth.oauth.begin', { provider: 'idp', loopbackPort })).status).toBe(400)
  const url = await agent.begin({ provider: 'idp', returnTo: 'http://127.0.0.1:4711/' })
  expect((await agent.comeBack('idp', idp.approve(url, { sub: 'browser' }))).location).toBe('/')
})

test('CL-1: neither cookie of the jar goes into the file of a store but the session’s', async () => {
  const saved: unknown[] = []
  const store = { load: async () => null, save: async (_origin: string, cookie: unknown) => void saved.push(cookie) }
  const client = createClient<never>({ url: server.url, ca: server.ca, store })
  const { api } = client as unknown as ReturnType<TestServer['client']>
  await api.auth.oauth.begin.mutate({ provider: 'idp' })
  expect(saved).toEqual([])
  await api.auth.login.mutate({ username: 'ada', password: PASSWORD })
  expect(saved).toHaveLength(1)
  await client.close()
})
