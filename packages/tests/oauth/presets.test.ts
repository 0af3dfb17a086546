import { createHash, generateKeyPairSync, verify } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { apple, github, google, kakao, line, microsoft, naver, type Provider } from '@trpc-login/server/providers'
import { expect, test } from 'vitest'
import { startInternet } from '../support/internet.ts'
import { PUBLIC_JWK, signJwt } from '../support/test-provider.ts'

const CREDENTIALS = { clientId: 'app', clientSecret: 'the-secret' }
const { privateKey, publicKey } = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  publicKeyEncoding: { type: 'spki', format: 'pem' },
})
const APPLE = { clientId: 'app', teamId: 'TEAM', keyId: 'KEY', privateKey }
const SECRETS = {
  redirectUri: 'https://app.example.com/oauth/x/callback',
  state: 's'.repeat(43),
  nonce: 'n'.repeat(43),
  codeVerifier: 'v'.repeat(43),
}

interface Asked {
  url: string
  form: URLSearchParams
  authorization: string | undefined
}

/** Hosts that answer what is given for `host/path`, and keep what they were asked. */
async function internet(answers: Record<string, unknown>) {
  const asked: Asked[] = []
  const hosts = await startInternet((req, res) => {
    void (async () => {
      const url = `${req.headers.host}${req.url}`
      asked.push({ url, form: new URLSearchParams(await textOf(req)), authorization: req.headers.authorization })
      const body = answers[url]
      res.writeHead(body === undefined ? 404 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? {}))
    })()
  })
  return { asked, [Symbol.asyncDispose]: () => hosts[Symbol.asyncDispose]() }
}

async function textOf(req: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of req) text += String(chunk)
  return text
}

const identify = (provider: Provider, extra: Record<string, string> = {}) =>
  provider.identify({ ...SECRETS, parameters: new URLSearchParams({ code: 'c', state: SECRETS.state, ...extra }) })

const authorization = async (provider: Provider, reauthenticate = false) => {
  const url = new URL(await provider.authorizationUrl({ ...SECRETS, reauthenticate }))
  return { endpoint: `${url.host}${url.pathname}`, ...Object.fromEntries(url.searchParams) }
}

/** What every authorization request holds: code flow, PKCE S256, state (OA-1). */
const COMMON = {
  client_id: 'app',
  response_type: 'code',
  redirect_uri: SECRETS.redirectUri,
  state: SECRETS.state,
  code_challenge: createHash('sha256').update(SECRETS.codeVerifier).digest('base64url'),
  code_challenge_method: 'S256',
}
const TOKEN = { access_token: 'at', token_type: 'bearer' }

test('OA-1: GitHub is asked with PKCE and state, and identifies by its number, with the primary address and what it says of it', async () => {
  const provider = github(CREDENTIALS)
  expect(await authorization(provider)).toEqual({ endpoint: 'github.com/login/oauth/authorize', scope: 'read:user user:email', ...COMMON })
  expect(await authorization(provider, true)).toMatchObject({ prompt: 'select_account' })
  await using hosts = await internet({
    'github.com/login/oauth/access_token': TOKEN,
    'api.github.com/user': { id: 583_231, login: 'octocat', name: 'The Octocat', email: 'public@example.com' },
    'api.github.com/user/emails': [
      { email: 'other@example.com', primary: false, verified: true },
      { email: 'octocat@example.com', primary: true, verified: true },
    ],
  })
  expect(await identify(provider)).toEqual({
    issuer: 'https://github.com/login/oauth',
    subject: '583231',
    username: 'octocat',
    name: 'The Octocat',
    email: 'octocat@example.com',
    emailVerified: true,
    provedMsAgo: null,
  })
  const [token, user] = hosts.asked
  expect(Object.fromEntries(token?.form ?? [])).toMatchObject({
    code: 'c',
    code_verifier: SECRETS.codeVerifier,
    client_secret: 'the-secret',
  })
  expect(user?.authorization).toBe('Bearer at')
})

test('GitHub’s own way to refuse a code, 200 with an error inside, is a refusal', async () => {
  await using _hosts = await internet({ 'github.com/login/oauth/access_token': { error: 'bad_verification_code' } })
  await expect(identify(github(CREDENTIALS))).rejects.toThrow('what GitHub answered does not hold')
})

test('Naver tells who it is within an envelope, and its address proves nothing', async () => {
  const provider = naver(CREDENTIALS)
  expect(await authorization(provider)).toEqual({ endpoint: 'nid.naver.com/oauth2.0/authorize', ...COMMON })
  expect(await authorization(provider, true)).toMatchObject({ auth_type: 'reauthenticate' })
  await using _hosts = await internet({
    'nid.naver.com/oauth2.0/token': TOKEN,
    'openapi.naver.com/v1/nid/me': {
      resultcode: '00',
      message: 'success',
      response: { id: 'abc', nickname: '길동', email: 'a@naver.com' },
    },
  })
  expect(await identify(provider)).toEqual({
    issuer: 'https://nid.naver.com',
    subject: 'abc',
    username: '길동',
    name: '길동',
    email: 'a@naver.com',
    emailVerified: false,
    provedMsAgo: null,
  })
})

test('LINE tells who it is without an address', async () => {
  const provider = line(CREDENTIALS)
  expect(await authorization(provider)).toEqual({ endpoint: 'access.line.me/oauth2/v2.1/authorize', scope: 'profile', ...COMMON })
  await using _hosts = await internet({
    'api.line.me/oauth2/v2.1/token': TOKEN,
    'api.line.me/v2/profile': { userId: 'U1', displayName: 'Brown' },
  })
  expect(await identify(provider)).toMatchObject({
    issuer: 'https://access.line.me',
    subject: 'U1',
    name: 'Brown',
    email: null,
    emailVerified: false,
  })
})

test.each([
  ['an empty subject', { userId: '' }],
  ['no subject', {}],
  ['a subject of another type', { userId: 7 }],
])('OA-5: a profile with %s is refused', async (_what, profile) => {
  await using _hosts = await internet({ 'api.line.me/oauth2/v2.1/token': TOKEN, 'api.line.me/v2/profile': profile })
  await expect(identify(line(CREDENTIALS))).rejects.toThrow(/LINE/)
})

/** The hosts of one OpenID provider, honest. */
function openId(issuer: string, claims: Record<string, unknown>, metadata: Record<string, unknown> = {}) {
  const host = new URL(issuer).host
  const at = Math.floor(Date.now() / 1000)
  return {
    [`${issuer.replace('https://', '')}/.well-known/openid-configuration`]: {
      issuer,
      authorization_endpoint: `https://${host}/authorize`,
      token_endpoint: `https://${host}/token`,
      jwks_uri: `https://${host}/keys`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
      ...metadata,
    },
    [`${host}/keys`]: { keys: [PUBLIC_JWK] },
    [`${host}/token`]: {
      ...TOKEN,
      id_token: signJwt({ iss: issuer, aud: 'app', sub: '1', iat: at, exp: at + 60, nonce: SECRETS.nonce, ...claims }),
    },
  }
}

const VERIFIED = { email: 'a@example.com', email_verified: true }

test('Google is discovered, and proves the address', async () => {
  await using _hosts = await internet(openId('https://accounts.google.com', { ...VERIFIED, name: 'Ada' }))
  const provider = google(CREDENTIALS)
  expect(await authorization(provider)).toEqual({
    endpoint: 'accounts.google.com/authorize',
    scope: 'openid profile email',
    nonce: SECRETS.nonce,
    ...COMMON,
  })
  expect(await identify(provider)).toMatchObject({ issuer: 'https://accounts.google.com', subject: '1', name: 'Ada', ...toProfile(true) })
})

test('OA-6: Microsoft’s address proves nothing, and the issuer is that of the person’s own tenant', async () => {
  const issuer = 'https://login.microsoftonline.com/{tenantid}/v2.0'
  const common = openId(
    'https://login.microsoftonline.com/common/v2.0',
    { ...VERIFIED, iss: issuer.replace('{tenantid}', 't1'), tid: 't1' },
    { issuer },
  )
  await using _hosts = await internet(common)
  const provider = microsoft(CREDENTIALS)
  expect(await authorization(provider, true)).toMatchObject({ prompt: 'login', scope: 'openid profile email' })
  expect(await identify(provider)).toMatchObject({ issuer: 'https://login.microsoftonline.com/t1/v2.0', ...toProfile(false) })
})

test('OA-4: a token of another tenant than the one that was configured is refused', async () => {
  const issuer = 'https://login.microsoftonline.com/t1/v2.0'
  await using _hosts = await internet(openId(issuer, { iss: 'https://login.microsoftonline.com/t2/v2.0', tid: 't2' }))
  await expect(identify(microsoft({ ...CREDENTIALS, tenant: 't1' }))).rejects.toThrow('what Microsoft answered does not hold')
})

test('Kakao’s address counts with the word about it that comes in the same answer', async () => {
  const userinfo = { 'kapi.kakao.com/v1/oidc/userinfo': { sub: '1', nickname: 'apeach', email: 'a@example.com', email_verified: true } }
  const metadata = {
    userinfo_endpoint: 'https://kapi.kakao.com/v1/oidc/userinfo',
    token_endpoint_auth_methods_supported: ['client_secret_post'],
  }
  await using hosts = await internet({ ...openId('https://kauth.kakao.com', { email: 'a@example.com' }, metadata), ...userinfo })
  const provider = kakao(CREDENTIALS)
  expect(await authorization(provider)).toMatchObject({ scope: 'openid profile_nickname account_email' })
  expect(await identify(provider)).toMatchObject({ username: 'apeach', name: 'apeach', ...toProfile(true) })
  expect(hosts.asked.find(({ url }) => url === 'kauth.kakao.com/token')?.form.get('client_secret')).toBe('the-secret')
})

test('Apple comes back by form, gets a secret signed with the key, and tells the name once', async () => {
  const methods = { token_endpoint_auth_methods_supported: ['client_secret_post'] }
  await using hosts = await internet(openId('https://appleid.apple.com', { email: 'a@example.com', email_verified: 'true' }, methods))
  const provider = apple(APPLE)
  expect(provider.formPost).toBe(true)
  expect(await authorization(provider)).toMatchObject({ response_mode: 'form_post', scope: 'openid name email' })
  const user = JSON.stringify({ name: { firstName: 'Ada', lastName: 'Lovelace' }, email: 'forged@example.com' })
  // "true" is a string there at times; a string proves nothing.
  expect(await identify(provider, { user })).toMatchObject({ name: 'Ada Lovelace', ...toProfile(false) })
  expect(await identify(provider, { user: '{"name":' })).toMatchObject({ name: null })
  const secret = hosts.asked.find(({ url }) => url === 'appleid.apple.com/token')?.form.get('client_secret') ?? ''
  const [header = '', claims = '', signature = ''] = secret.split('.')
  const valid = verify(
    'sha256',
    Buffer.from(`${header}.${claims}`),
    { key: publicKey, dsaEncoding: 'ieee-p1363' },
    Buffer.from(signature, 'base64url'),
  )
  expect(valid).toBe(true)
  expect(JSON.parse(Buffer.from(claims, 'base64url').toString())).toMatchObject({
    iss: 'TEAM',
    sub: 'app',
    aud: 'https://appleid.apple.com',
  })
})

test('Apple’s key is read when the provider is made', () => {
  expect(() => apple({ ...APPLE, privateKey: 'no key' })).toThrow('privateKey must be the text of the .p8 file')
})

function toProfile(emailVerified: boolean) {
  return { email: 'a@example.com', emailVerified }
}
