import * as openid from 'openid-client'
import { authenticateWith, authorizationUrl, bounded, type Credentials, calling, DISCOVERY, exchangeCode } from './client.ts'
import { type Provider, ProviderRefused, textOf } from './provider.ts'

const METADATA_MS = 60 * 60_000
// Asymmetric alone: with a shared secret, whoever may check a token could make one (RFC 8725 section 3.1).
const ALGORITHMS: ReadonlySet<unknown> = new Set([
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
  'Ed25519',
])

const PROVE_AGAIN = { prompt: 'login', max_age: '0' }

/** A provider that speaks OpenID Connect. */
export interface OidcOptions extends Credentials {
  /** In the path of the redirect URI, `/oauth/<id>/callback`. */
  readonly id: string
  /** As people know it. */
  readonly name: string
  /** Its address, as it stands in its ID tokens; the rest is discovered there. */
  readonly issuer: string
  /** @default 'openid profile email' */
  readonly scope?: string
}

/** What differs between providers that speak OpenID Connect. */
export interface OidcDefinition {
  readonly formPost?: boolean
  /** Sent with every authorization request. */
  readonly parameters?: Readonly<Record<string, string>>
  /** Sent to have the person prove again who they are. */
  readonly reauthentication?: Readonly<Record<string, string>>
  /** Whether its `email_verified` can be believed. @default true */
  readonly provesEmail?: boolean
  /** The client secret at this moment, where it is not a constant. */
  readonly clientSecret?: () => string
  /** The name, where it is not in the token but in what the browser brings. */
  readonly nameIn?: (parameters: URLSearchParams) => string | null
}

/**
 * Sign-in with any OpenID provider, found by discovery. Use it for your own identity provider, and the presets for the large ones.
 * @throws TypeError when the issuer is not an https URL
 */
export function oidc(options: OidcOptions): Provider {
  return createOidcProvider(options, {})
}

/** The same, for presets that differ. @throws TypeError when the issuer is not an https URL */
export function createOidcProvider(options: OidcOptions, definition: OidcDefinition): Provider {
  const { id, name, scope = 'openid profile email', registration = null } = options
  const { formPost = false, parameters = {}, reauthentication = PROVE_AGAIN, provesEmail = true } = definition
  const issuer = URL.parse(options.issuer)
  if (issuer?.protocol !== 'https:') throw new TypeError(`${id}: issuer must be an https URL, got ${options.issuer}`)
  const configuration = createDiscovery(issuer, options, definition)

  return {
    id,
    name,
    formPost,
    registration,
    authorizationUrl: (request) =>
      calling(name, async () =>
        authorizationUrl(await configuration(), request, {
          scope,
          nonce: request.nonce,
          ...parameters,
          ...(request.reauthenticate ? reauthentication : {}),
        }),
      ),
    identify: (answer) =>
      calling(name, async () => {
        const config = await configuration()
        const tokens = await exchangeCode(config, answer, answer.nonce)
        const claims = tokens.claims()
        if (claims === undefined || claims.sub === '' || !ALGORITHMS.has(algorithmOf(tokens.id_token))) {
          throw new ProviderRefused(`the ID token of ${name} is not signed as it must be`)
        }
        const isWhole = claims['email'] !== undefined && claims['email_verified'] !== undefined
        const asks = !isWhole && config.serverMetadata().userinfo_endpoint !== undefined
        const more: { email?: unknown; email_verified?: unknown } = asks
          ? await openid.fetchUserInfo(config, tokens.access_token, claims.sub)
          : {}
        // An address and the word about it come from one answer: mixed, the word would be about another address.
        const { email, email_verified: verified } = isWhole || more.email === undefined ? claims : more
        return {
          ...toProfile({ ...more, ...claims }),
          ...(definition.nameIn === undefined ? {} : { name: definition.nameIn(answer.parameters) }),
          email: textOf(email),
          emailVerified: provesEmail && verified === true,
        }
      }),
  }
}

/** The provider's own description, asked for when first needed, once for all callers, and again after an hour. */
function createDiscovery(issuer: URL, options: OidcOptions, definition: OidcDefinition): () => Promise<openid.Configuration> {
  let known: Promise<openid.Configuration> | null = null
  let expiresAt = 0
  return () => {
    if (known !== null && performance.now() < expiresAt) return known
    const asked = discover(issuer, options, definition)
    known = asked
    expiresAt = performance.now() + METADATA_MS
    asked.catch(() => {
      if (known === asked) known = null
    })
    return asked
  }
}

async function discover(issuer: URL, options: OidcOptions, definition: OidcDefinition): Promise<openid.Configuration> {
  const authentication = authenticateWith(definition.clientSecret ?? (() => options.clientSecret))
  const config = await openid.discovery(issuer, options.clientId, undefined, authentication, DISCOVERY)
  // The code flow may trust TLS in place of the signature; we check both.
  openid.enableNonRepudiationChecks(config)
  return bounded(config)
}

function algorithmOf(idToken: string | undefined): unknown {
  const [header = ''] = idToken?.split('.', 1) ?? []
  return (JSON.parse(Buffer.from(header, 'base64url').toString()) as { alg?: unknown }).alg
}

function toProfile(claims: Readonly<Record<string, unknown>> & { iss: string; sub: string; iat: number }) {
  const authTime = claims['auth_time']
  return {
    issuer: claims.iss,
    subject: claims.sub,
    username: textOf(claims['preferred_username']) ?? textOf(claims['nickname']),
    name: textOf(claims['name']) ?? textOf(claims['nickname']),
    // Both instants by the provider's clock.
    provedMsAgo: typeof authTime === 'number' ? (claims.iat - authTime) * 1000 : null,
  }
}
