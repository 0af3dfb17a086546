import { setTimeout as wait } from 'node:timers/promises'
import { oidc } from '@trpc-login/server/providers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createAgent } from '../support/agent.ts'
import { MINUTE, PASSWORD, startServer, type TestServer } from '../support/server.ts'
import { type Claims, hmacJwt, json, signJwt, startTestProvider, type TestProvider, unsignedJwt } from '../support/test-provider.ts'

let idp: TestProvider
let other: TestProvider
let server: TestServer
beforeAll(async () => {
  idp = await startTestProvider()
  other = await startTestProvider()
  const credentials = { clientId: 'app', clientSecret: 'secret' }
  server = await startServer({
    registration: 'open',
    providers: [
      oidc({ id: 'idp', name: 'IdP', issuer: idp.issuer, ...credentials }),
      oidc({ id: 'other', name: 'Other', issuer: other.issuer, ...credentials }),
    ],
  })
})
afterAll(async () => {
  await server[Symbol.asyncDispose]()
  await idp[Symbol.asyncDispose]()
  await other[Symbol.asyncDispose]()
})

/** The whole way with one claim or signature that is wrong. */
async function comeBackWith(claims: Claims, idToken?: (claims: Claims) => string) {
  const agent = createAgent(server)
  const answer = await agent.comeBack('idp', idp.approve(await agent.begin({ provider: 'idp' }), claims, idToken))
  return { ...answer, me: await agent.me() }
}

test('an honest answer signs in, so that what is refused below is refused for its one flaw', async () => {
  const { status, location, me } = await comeBackWith({ sub: 'honest' })
  expect([status, location, me?.user.username]).toEqual([303, '/', expect.stringMatching(/^idp-user-\d{5}$/)])
})

const at = () => Math.floor(Date.now() / 1000)
const FLAWS: Record<string, () => [Claims, ((claims: Claims) => string)?]> = {
  'without a signature': () => [{}, unsignedJwt],
  'signed with the public key as a shared secret': () => [{}, hmacJwt],
  'signed by a key that the provider does not have': () => [{}, (claims) => signJwt(claims, { alg: 'RS256', kid: 'k2' })],
  'that brings its own key': () => [{}, (claims) => signJwt(claims, { alg: 'RS256', kid: 'k2', jku: `${other.issuer}/jwks` })],
  'whose claims were changed afterwards': () => [{}, (claims) => tampered(signJwt(claims))],
  'that has expired': () => [{ iat: at() - 900, exp: at() - 600 }],
  'that will be issued in a while': () => [{ iat: at() + 60 }],
  'that was issued long before this sign-in': () => [{ iat: at() - 700 }],
  'without a time of issue': () => [{ iat: undefined }],
  'whose time of issue is a text': () => [{ iat: String(at()) }],
  'that another application asked for': () => [{ azp: 'another' }],
  'for two applications that another asked for': () => [{ aud: ['app', 'another'], azp: 'another' }],
  'for another application': () => [{ aud: 'another' }],
  'for two applications without saying who asked': () => [{ aud: ['app', 'another'] }],
  'with another nonce': () => [{ nonce: 'x'.repeat(43) }],
  'without a nonce': () => [{ nonce: undefined }],
  'of another issuer': () => [{ iss: other.issuer }],
  'with an empty subject': () => [{ sub: '' }],
  'without a subject': () => [{ sub: undefined }],
  'whose subject is a number': () => [{ sub: 7 }],
  'that is no token': () => [{}, () => 'no.token.here'],
}

test.each([
  ['by a clock that is 20 s ahead', { iat: at() + 20 }],
  ['five minutes ago, as some providers say of all', { iat: at() - 300 }],
  ['for two applications, of which this one asked', { aud: ['app', 'another'], azp: 'app' }],
  ['for this application, which asked', { azp: 'app' }],
])('OA-4: an ID token issued %s is taken', async (_what, claims) => {
  expect((await comeBackWith({ sub: 'honest', ...claims })).status).toBe(303)
})

function tampered(token: string): string {
  const [header = '', body = '', signature = ''] = token.split('.')
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString()) as Claims
  return [header, Buffer.from(JSON.stringify({ ...claims, sub: 'root' })).toString('base64url'), signature].join('.')
}

test.each(Object.entries(FLAWS))('OA-4: an ID token %s is 400, and nobody is signed in', async (_flaw, make) => {
  const { status, error, me, headers } = await comeBackWith(...make())
  expect([status, error?.data.reason, me]).toEqual([400, 'sign_in_failed', null])
  expect(headers.getSetCookie()).toEqual([])
})

describe('the transaction', () => {
  test('OA-3: the state of a sign-in with one provider is refused at another’s callback', async () => {
    const agent = createAgent(server)
    const parameters = idp.approve(await agent.begin({ provider: 'idp' }))
    const { status, error } = await agent.comeBack('other', parameters)
    expect([status, error?.data.reason, await agent.me()]).toEqual([400, 'sign_in_failed', null])
    expect(other.seen).not.toContain('/token')
  })

  test('OA-3: a mix-up is refused also where no provider says which one it is', async () => {
    await using first = await startTestProvider()
    await using second = await startTestProvider()
    for (const { endpoints, metadata } of [first, second]) {
      const { authorization_response_iss_parameter_supported: _says, ...silent } = metadata()
      endpoints.set('/.well-known/openid-configuration', (_req, res) => json(res, silent))
    }
    const credentials = { clientId: 'app', clientSecret: 'secret' }
    await using own = await startServer({
      registration: 'open',
      providers: [
        oidc({ id: 'first', name: 'First', issuer: first.issuer, ...credentials }),
        oidc({ id: 'second', name: 'Second', issuer: second.issuer, ...credentials }),
      ],
    })
    const agent = createAgent(own)
    const parameters = first.approve(await agent.begin({ provider: 'first' }))
    parameters.delete('iss')
    expect((await agent.comeBack('second', parameters)).status).toBe(400)
    expect(second.seen).not.toContain('/token')
  })

  test('OA-3: an answer that names another issuer, or none where the provider always does, is refused before its code is spent', async () => {
    for (const iss of [other.issuer, null]) {
      const agent = createAgent(server)
      const parameters = idp.approve(await agent.begin({ provider: 'idp' }))
      parameters.delete('iss')
      if (iss !== null) parameters.set('iss', iss)
      const asked = idp.seen.filter((path) => path === '/token').length
      const { status } = await agent.comeBack('idp', parameters)
      expect([status, idp.seen.filter((path) => path === '/token').length]).toEqual([400, asked])
    }
  })

  test('OA-2: a state is good once', async () => {
    const agent = createAgent(server)
    const parameters = idp.approve(await agent.begin({ provider: 'idp' }), { sub: 'once' })
    expect((await agent.comeBack('idp', parameters)).status).toBe(303)
    agent.cookies.delete('__Host-session')
    expect((await agent.comeBack('idp', parameters)).status).toBe(400)
    expect(await agent.me()).toBe(null)
  })

  test('OA-2: of 20 that come back at once with one state, exactly one is signed in', async () => {
    const agent = createAgent(server)
    const parameters = idp.approve(await agent.begin({ provider: 'idp' }), { sub: 'raced' })
    const answers = await Promise.all(Array.from({ length: 20 }, () => agent.comeBack('idp', parameters)))
    expect(answers.filter(({ status }) => status === 303)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(19)
    const user = (await agent.me())?.user.id ?? ''
    expect(await server.auth.sessions.list(user)).toHaveLength(1)
  })

  test('OA-2: a state that another browser began is refused, and its owner can still finish', async () => {
    const [owner, thief] = [createAgent(server), createAgent(server)]
    const parameters = idp.approve(await owner.begin({ provider: 'idp' }), { sub: 'owner' })
    expect((await thief.comeBack('idp', parameters)).status).toBe(400)
    await thief.begin({ provider: 'idp' })
    expect((await thief.comeBack('idp', parameters)).status).toBe(400)
    expect(await thief.me()).toBe(null)
    expect((await owner.comeBack('idp', parameters)).status).toBe(303)
  })

  test('OA-2: it ends after ten minutes', async () => {
    await using own = await startServer({
      registration: 'open',
      providers: [oidc({ id: 'idp', name: 'IdP', issuer: idp.issuer, clientId: 'app', clientSecret: 's' })],
    })
    const agent = createAgent(own)
    const early = idp.approve(await agent.begin({ provider: 'idp' }), { sub: 'early' })
    const late = idp.approve(await agent.begin({ provider: 'idp' }), { sub: 'late' })
    own.clock.advance(10 * MINUTE - 1)
    expect((await agent.comeBack('idp', early)).status).toBe(303)
    own.clock.advance(1)
    expect((await agent.comeBack('idp', late)).status).toBe(400)
  })

  test('a code that was spent already is 400 with a state of its own', async () => {
    const agent = createAgent(server)
    const first = idp.approve(await agent.begin({ provider: 'idp' }), { sub: 'spent' })
    expect((await agent.comeBack('idp', first)).status).toBe(303)
    const second = idp.approve(await agent.begin({ provider: 'idp' }))
    second.set('code', first.get('code') ?? '')
    expect((await agent.comeBack('idp', second)).status).toBe(400)
  })

  test('OA-1: a code that was asked for with another PKCE secret buys nothing', async () => {
    const [victim, attacker] = [createAgent(server), createAgent(server)]
    const stolen = idp.approve(await victim.begin({ provider: 'idp' }), { sub: 'victim' })
    const own = idp.approve(await attacker.begin({ provider: 'idp' }))
    own.set('code', stolen.get('code') ?? '')
    expect((await attacker.comeBack('idp', own)).status).toBe(400)
    expect(await attacker.me()).toBe(null)
  })

  test.each([
    ['nothing', {}],
    ['a state alone', { state: 'x'.repeat(43) }],
    ['an empty state', { state: '', code: 'c' }],
    ['a state of another form', { state: '../../etc/passwd', code: 'c' }],
  ])('IN-2: a callback with %s is 400', async (_what, parameters) => {
    const agent = createAgent(server)
    await agent.begin({ provider: 'idp' })
    expect((await agent.comeBack('idp', new URLSearchParams(parameters))).status).toBe(400)
  })

  test('a state that comes twice is 400', async () => {
    const agent = createAgent(server)
    const parameters = idp.approve(await agent.begin({ provider: 'idp' }))
    parameters.append('state', parameters.get('state') ?? '')
    expect((await agent.comeBack('idp', parameters)).status).toBe(400)
  })

  test('whoever says no at the provider is told so in words, on a page that runs nothing', async () => {
    const agent = createAgent(server)
    const state = new URL(await agent.begin({ provider: 'idp' })).searchParams.get('state') ?? ''
    const parameters = new URLSearchParams({ state, error: 'access_denied', error_description: '<script>', iss: idp.issuer })
    const answer = await agent.comeBack('idp', parameters, { accept: 'text/html' })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'text/html; charset=utf-8'])
    expect(answer.text).toContain('The sign-in was cancelled')
    expect(answer.text).not.toContain('<script')
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'")
  })

  test('an application may have its own page for that, and programs still get the status', async () => {
    await using own = await startServer({
      appUrl: 'https://app.example.com',
      failurePath: '/sign-in',
      providers: [oidc({ id: 'idp', name: 'IdP', issuer: idp.issuer, clientId: 'app', clientSecret: 'secret' })],
    })
    const agent = createAgent(own)
    const answer = await agent.comeBack('idp', new URLSearchParams({ state: 'x' }), { accept: 'text/html' })
    expect(answer.status).toBe(303)
    expect(answer.location).toBe(`https://app.example.com/sign-in?reason=sign_in_failed&requestId=${answer.headers.get('x-request-id')}`)
    expect((await agent.comeBack('idp', new URLSearchParams({ state: 'x' }))).status).toBe(400)
    for (const failurePath of ['//evil.example', 'https://evil.example', '/a?b', 'sign-in']) {
      await expect(startServer({ failurePath })).rejects.toThrow('failurePath must be a path such as /sign-in')
    }
  })

  test('callbacks of providers that there are not are 404, and other methods 405', async () => {
    expect((await server.fetch('/oauth/nobody/callback')).status).toBe(404)
    expect((await server.fetch('/oauth/idp/callback', { method: 'POST' })).status).toBe(405)
    expect((await server.fetch('/oauth/idp/callback/more')).status).toBe(404)
  })
})

const signedByUnknownKey = (claims: Claims) => signJwt(claims, { alg: 'RS256', kid: 'unknown' })

/** A provider whose one endpoint answers so, and a server of its own for it. */
async function withEndpoint(path: string, endpoint: Parameters<TestProvider['endpoints']['set']>[1]) {
  const provider = await startTestProvider()
  provider.endpoints.set(path, endpoint)
  const own = await startServer({
    registration: 'open',
    providers: [oidc({ id: 'idp', name: 'IdP', issuer: provider.issuer, clientId: 'app', clientSecret: 'secret' })],
  })
  return {
    provider,
    own,
    async [Symbol.asyncDispose]() {
      await own[Symbol.asyncDispose]()
      await provider[Symbol.asyncDispose]()
    },
  }
}

// What a megabyte may become while it sits in the buffers of two sockets.
const MOST_IN_FLIGHT = 32 * 1024 * 1024
let sent = 0
const ENDLESS: Parameters<TestProvider['endpoints']['set']>[1] = (_req, res) => {
  res.writeHead(200, { 'content-type': 'application/json' })
  const chunk = Buffer.alloc(64 * 1024, ' ')
  const more = () => {
    do sent += chunk.length
    while (!res.destroyed && res.write(chunk))
  }
  res.on('drain', more)
  more()
}

describe('a provider that is down or hostile', () => {
  const DISCOVERY = '/.well-known/openid-configuration'
  test.each<[string, string, Parameters<TestProvider['endpoints']['set']>[1]]>([
    ['fails', DISCOVERY, (_req, res) => json(res, {}, 500)],
    ['redirects', DISCOVERY, (req, res) => res.writeHead(302, { location: `${other.issuer}${req.url}` }).end()],
    ['answers without end', DISCOVERY, ENDLESS],
    ['hangs up', DISCOVERY, (req) => req.socket.destroy()],
  ])('OA-9: one whose discovery %s makes begin 503, and signing in with a password goes on', async (_what, path, endpoint) => {
    const [sentBefore, before] = [sent, [...other.seen]]
    await using set = await withEndpoint(path, endpoint)
    const { status, body } = await createAgent(set.own).post('auth.oauth.begin', { provider: 'idp' })
    expect([status, body.error?.data.reason]).toEqual([503, 'unavailable'])
    expect(body.error?.message).toContain('IdP cannot be reached')
    expect(other.seen).toEqual(before)
    expect(sent - sentBefore).toBeLessThan(MOST_IN_FLIGHT)
    await set.own.signIn()
    set.provider.endpoints.clear()
    expect((await createAgent(set.own).post('auth.oauth.begin', { provider: 'idp' })).status).toBe(200)
  })

  test('OA-9: discovery of another issuer, or over plain HTTP, is refused', async () => {
    await using set = await withEndpoint(DISCOVERY, (_req, res) =>
      json(res, { ...set.provider.metadata(), issuer: 'https://evil.example' }),
    )
    expect((await createAgent(set.own).post('auth.oauth.begin', { provider: 'idp' })).status).toBe(400)
    expect(() => oidc({ id: 'x', name: 'X', issuer: 'http://127.0.0.1', clientId: 'a', clientSecret: 'b' })).toThrow(
      'issuer must be an https URL',
    )
  })

  test.each<[string, string, Parameters<TestProvider['endpoints']['set']>[1], number]>([
    ['answers without end', '/token', ENDLESS, 503],
    ['redirects', '/token', (req, res) => res.writeHead(307, { location: `${other.issuer}${req.url}` }).end(), 503],
    ['fails', '/token', (_req, res) => json(res, {}, 502), 503],
    ['answers no JSON', '/token', (_req, res) => res.writeHead(200, { 'content-type': 'text/html' }).end('<html>'), 400],
    ['answers without an ID token', '/token', (_req, res) => json(res, { access_token: 'a', token_type: 'Bearer' }), 400],
    ['has keys without end', '/jwks', ENDLESS, 503],
    ['has no keys', '/jwks', (_req, res) => json(res, { keys: [] }), 400],
    ['tells of another person', '/userinfo', (_req, res) => json(res, { sub: 'somebody else', email: 'x@example.com' }), 400],
  ])('OA-9: one that %s at %s ends the sign-in with a clear error and no session', async (_what, path, endpoint, status) => {
    const [sentBefore, before] = [sent, [...other.seen]]
    await using set = await withEndpoint(path, endpoint)
    const agent = createAgent(set.own)
    const answer = await agent.comeBack('idp', set.provider.approve(await agent.begin({ provider: 'idp' })))
    expect(other.seen).toEqual(before)
    expect(sent - sentBefore).toBeLessThan(MOST_IN_FLIGHT)
    expect([answer.status, answer.error?.data.reason, await agent.me()]).toEqual([
      status,
      status === 503 ? 'unavailable' : 'sign_in_failed',
      null,
    ])
  })

  test('OA-9: one that never answers is waited for five seconds, and nobody else waits', async () => {
    await using set = await withEndpoint(DISCOVERY, () => {})
    const from = performance.now()
    const waiting = createAgent(set.own).post('auth.oauth.begin', { provider: 'idp' })
    await wait(50)
    await set.own.signIn()
    expect(performance.now() - from).toBeLessThan(4000)
    const { status } = await waiting
    expect(status).toBe(503)
    expect(performance.now() - from).toBeLessThan(8000)
  })

  test('OA-9: unknown keys do not make the server ask for the keys again and again', async () => {
    await using set = await withEndpoint('/nothing', () => {})
    for (let i = 0; i < 5; i += 1) {
      const agent = createAgent(set.own)
      await agent.comeBack('idp', set.provider.approve(await agent.begin({ provider: 'idp' }), {}, signedByUnknownKey))
    }
    expect(set.provider.seen.filter((path) => path === '/jwks').length).toBeLessThanOrEqual(2)
    expect(set.provider.seen.filter((path) => path === DISCOVERY)).toHaveLength(1)
  })
})

test('AU-1: neither codes, tokens, states nor secrets of a sign-in reach the log', async () => {
  const agent = createAgent(server)
  const parameters = idp.approve(await agent.begin({ provider: 'idp' }), {}, hmacJwt)
  await agent.comeBack('idp', parameters)
  const log = JSON.stringify(server.lines)
  expect(log).toContain('provider_failed')
  for (const secret of [parameters.get('code'), parameters.get('state'), agent.cookies.get('__Host-sign-in'), 'secret"', 'eyJ', PASSWORD]) {
    expect(log).not.toContain(secret)
  }
})
