import { createHash, createHmac, generateKeyPairSync, randomUUID, sign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { developmentTls } from '../../server/src/http/development-tls.ts'

export type Claims = Record<string, unknown>
type Endpoint = (req: IncomingMessage, res: ServerResponse) => unknown

const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
export const PUBLIC_JWK = { ...publicKey.export({ format: 'jwk' }), kid: 'k1', use: 'sig', alg: 'RS256' }
const encode = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** Lets this process trust a development authority, as an operator would with `NODE_EXTRA_CA_CERTS`. */
export function trust(ca: string): void {
  setDefaultCACertificates([...getCACertificates('default'), ca])
}

/** A JWT as an honest provider signs it, but for what the test says. */
export function signJwt(claims: Claims, header: Claims = { alg: 'RS256', kid: 'k1' }): string {
  const text = `${encode(header)}.${encode(claims)}`
  return `${text}.${sign('sha256', Buffer.from(text), privateKey).toString('base64url')}`
}

/** The classic: the public key, which everybody knows, taken for a shared secret. */
export function hmacJwt(claims: Claims): string {
  const text = `${encode({ alg: 'HS256', kid: 'k1' })}.${encode(claims)}`
  const secret = publicKey.export({ type: 'spki', format: 'pem' })
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}

export function unsignedJwt(claims: Claims): string {
  return `${encode({ alg: 'none' })}.${encode(claims)}.`
}

export type TestProvider = Awaited<ReturnType<typeof startTestProvider>>

/**
 * An OpenID provider that can be made to misbehave, which no real one can. It checks PKCE and spends codes as an honest one does;
 * `endpoints` replaces what it answers at a path, `idToken` what it signs.
 */
export async function startTestProvider() {
  const dir = mkdtempSync(join(tmpdir(), 'trpc-login-provider-'))
  const tls = await developmentTls(dir, '127.0.0.1', Date.now())
  trust(readFileSync(tls.caFile, 'utf8'))
  const endpoints = new Map<string, Endpoint>()
  const codes = new Map<string, { claims: Claims; challenge: string; idToken: (claims: Claims) => string }>()
  const subjects = new Map<string, unknown>()
  const seen: string[] = []
  let userinfo: Claims = {}

  const server = createServer({ cert: tls.cert, key: tls.key }, (req, res) => {
    const path = new URL(req.url ?? '', 'https://x').pathname
    seen.push(path)
    const own: Record<string, Endpoint> = {
      '/.well-known/openid-configuration': (_req, answer) => json(answer, metadata()),
      '/jwks': (_req, answer) => json(answer, { keys: [PUBLIC_JWK] }),
      '/userinfo': (request, answer) => json(answer, { sub: subjects.get(request.headers.authorization ?? ''), ...userinfo }),
      '/token': async (request, answer) => {
        let text = ''
        for await (const chunk of request) text += String(chunk)
        const form = new URLSearchParams(text)
        const grant = codes.get(form.get('code') ?? '')
        codes.delete(form.get('code') ?? '')
        const challenge = createHash('sha256')
          .update(form.get('code_verifier') ?? '')
          .digest('base64url')
        if (grant?.challenge !== challenge) return json(answer, { error: 'invalid_grant' }, 400)
        const token = randomUUID()
        subjects.set(`Bearer ${token}`, grant.claims['sub'])
        json(answer, { access_token: token, token_type: 'Bearer', expires_in: 60, id_token: grant.idToken(grant.claims) })
      },
    }
    const handle = endpoints.get(path) ?? own[path] ?? ((_req, answer) => json(answer, { error: 'not_found' }, 404))
    void handle(req, res)
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const issuer = `https://127.0.0.1:${(server.address() as AddressInfo).port}`

  function metadata() {
    return {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      jwks_uri: `${issuer}/jwks`,
      userinfo_endpoint: `${issuer}/userinfo`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256', 'HS256', 'none'],
      code_challenge_methods_supported: ['S256'],
      authorization_response_iss_parameter_supported: true,
    }
  }

  return {
    issuer,
    caFile: tls.caFile,
    endpoints,
    /** The paths that were asked for. */
    seen,
    metadata,
    setUserinfo(claims: Claims) {
      userinfo = claims
    },
    /** What the browser brings back to the application for an authorization URL, once the person has agreed. */
    approve(url: string, claims: Claims = {}, idToken: (claims: Claims) => string = signJwt): URLSearchParams {
      const asked = new URL(url).searchParams
      const at = Math.floor(Date.now() / 1000)
      const code = randomUUID()
      const standard = { iss: issuer, aud: asked.get('client_id'), sub: 'ada', iat: at, exp: at + 300, nonce: asked.get('nonce') }
      codes.set(code, { claims: { ...standard, ...claims }, challenge: asked.get('code_challenge') ?? '', idToken })
      return new URLSearchParams({ code, state: asked.get('state') ?? '', iss: issuer })
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

export function json(res: ServerResponse, body: unknown, status = 200): void {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
