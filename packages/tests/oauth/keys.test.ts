import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { oidc } from '@trpc-login/server/providers'
import { afterEach, expect, test, vi } from 'vitest'
import { createAgent } from '../support/agent.ts'
import { startServer, type TestServer } from '../support/server.ts'
import { type Claims, json, startTestProvider, type TestProvider } from '../support/test-provider.ts'

afterEach(() => void vi.restoreAllMocks())

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A provider whose signing key changes, and has a new name each time. */
async function startRotating() {
  const idp = await startTestProvider()
  let kid = ''
  let key: KeyObject
  function rotate(): void {
    const pair = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    kid = `k${Math.random()}`
    key = pair.privateKey
    const jwk = { ...pair.publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'ES256' }
    idp.endpoints.set('/jwks', (_req, res) => json(res, { keys: [jwk] }))
  }
  rotate()
  idp.endpoints.set('/.well-known/openid-configuration', (_req, res) =>
    json(res, { ...idp.metadata(), jwks_uri: `${idp.issuer}/x/../jwks`, id_token_signing_alg_values_supported: ['ES256'] }),
  )
  const signed = (claims: Claims) => {
    const text = `${encode({ alg: 'ES256', kid })}.${encode(claims)}`
    return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
  }
  return { idp, rotate, signed, fetched: () => idp.seen.filter((path) => path === '/jwks').length }
}

const start = (idp: TestProvider) =>
  startServer({
    registration: 'open',
    providers: [oidc({ id: 'idp', name: 'IdP', issuer: idp.issuer, clientId: 'app', clientSecret: 'secret' })],
  })

async function signIn(server: TestServer, { idp, signed }: Awaited<ReturnType<typeof startRotating>>): Promise<number> {
  const agent = createAgent(server)
  return (await agent.comeBack('idp', idp.approve(await agent.begin({ provider: 'idp' }), { sub: '1' }, signed))).status
}

/** Lets time pass for what counts it since the process began. */
function advance(ms: number): void {
  const now = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => now() + ms)
}

test('OA-9: a new signing key is fetched at once, a second one within the minute is not, and after the minute it is', async () => {
  const provider = await startRotating()
  await using idp = provider.idp
  await using server = await start(idp)
  expect([await signIn(server, provider), await signIn(server, provider), provider.fetched()]).toEqual([303, 303, 1])
  provider.rotate()
  expect([await signIn(server, provider), await signIn(server, provider), provider.fetched()]).toEqual([303, 303, 2])
  provider.rotate()
  expect([await signIn(server, provider), await signIn(server, provider), provider.fetched()]).toEqual([400, 400, 2])
  advance(61_000)
  expect([await signIn(server, provider), await signIn(server, provider), provider.fetched()]).toEqual([303, 303, 3])
})

test('OA-9: 20 sign-ins at the moment of a rotation ask for the keys once, and all succeed', async () => {
  const provider = await startRotating()
  await using idp = provider.idp
  await using server = await start(idp)
  expect(await signIn(server, provider)).toBe(303)
  provider.rotate()
  const statuses = await Promise.all(Array.from({ length: 20 }, () => signIn(server, provider)))
  expect([new Set(statuses), provider.fetched()]).toEqual([new Set([303]), 2])
})

test('OA-9: keys that are five minutes old are fetched again, and what is no list of keys is not kept', async () => {
  const provider = await startRotating()
  await using idp = provider.idp
  await using server = await start(idp)
  const keys = idp.endpoints.get('/jwks')
  idp.endpoints.set('/jwks', (_req, res) => json(res, { oops: true }))
  expect(await signIn(server, provider)).toBe(400)
  idp.endpoints.set('/jwks', keys ?? (() => {}))
  expect([await signIn(server, provider), provider.fetched()]).toEqual([303, 2])
  advance(301_000)
  expect([await signIn(server, provider), provider.fetched()]).toEqual([303, 3])
})
