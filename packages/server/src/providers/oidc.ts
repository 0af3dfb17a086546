import * as openid from 'openid-client'
import { boundedFetch } from './bounded-fetch.ts'
import { authenticateWith, authorizationUrl, bounded, type Credentials, calling, DISCOVERY, exchangeCode } from './client.ts'
import { createKeyCache } from './keys.ts'
import { type Provider, ProviderRefused, textOf } from './provider.ts'

const METADATA_MS = 60 * 60_000
// Between two clocks (ASVS 10.5.4).
const SKEW_SECONDS = 30
// As long as a sign-in may take; Microsoft's tokens say that they were issued five minutes ago.
const MAX_AGE_SECONDS = 600
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
  const configuration = createDiscovery(() => discover(issuer, options, definition, DISCOVERY[openid.customFetch]))
  const keys = createKeyCache()

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
        const config = await configurationOnce()
        const tokens = await exchangeCode(config, answer, answer.nonce)
        const claims = requireSound(tokens, options)
        const isWhole = claims['email'] !== undefined && claims['email_verified'] !== undefined
        const asks = !isWhole && config.serverMetadata().userinfo_endpoint !== undefined
        const more: { email?: unknown; email_verified?: unknown } = asks
          ? await openid.fetchUserInfo(config, tokens.access_token, claims.sub)
          : {}
        // An address and the word about it come from one answer: mixed, the word would be about another address.
        const { email, email_verified: verified } = isWhole || more.email === undefined ? claims : more
        return {
          ...toProfile({ ...more, ...claims }),
          // As it was signed, and nowhere else.
          provedMsAgo: provedMsAgo(claims),
          ...(definition.nameIn === undefined ? {} : { name: definition.nameIn(answer.parameters) }),
          email: textOf(email),
          emailVerified: provesEmail && verified === true,
        }
      }),
  }

  /** For one answer: the library keeps keys by configuration, and asks for those that it does not know too rarely. */
  async function configurationOnce(): Promise<openid.Configuration> {
    const metadata = (await configuration()).serverMetadata()
    const fetch = async () => Response.json(metadata)
    const config = await discover(issuer as URL, options, definition, fetch)
    const keysUrl = URL.parse(metadata.jwks_uri ?? '')?.href
    config[openid.customFetch] = (url, init) => (url === keysUrl ? keys.fetch : boundedFetch)(url, init as RequestInit)
    const known = keys.known()
    if (known !== null) openid.setJwksCache(config, known)
    return config
  }
}

/**
 * The claims of an ID token, whose signature, issuer, audience, expiry and nonce the library has checked, with what it leaves to us
 * (OpenID Connect Core section 3.1.3.7). @throws ProviderRefused
 */
function requireSound(tokens: Awaited<ReturnType<typeof exchangeCode>>, { name, clientId }: OidcOptions): openid.IDToken {
  const claims = tokens.claims()
  if (claims === undefined || claims.sub === '' || !ALGORITHMS.has(algorithmOf(tokens.id_token)))
    throw new ProviderRefused(`the ID token of ${name} is not signed as it must be`)
  if (claims.azp !== undefined && claims.azp !== clientId) throw new ProviderRefused(`the ID token of ${name} was asked for by another`)
  const agoSeconds = Date.now() / 1000 - claims.iat
  if (agoSeconds < -SKEW_SECONDS || agoSeconds > MAX_AGE_SECONDS + SKEW_SECONDS)
    throw new ProviderRefused(`the ID token of ${name} was not issued for this sign-in`)
  return claims
}

/** The provider's own description, asked for when first needed, once for all callers, and again after an hour. */
function createDiscovery(discover: () => Promise<openid.Configuration>): () => Promise<openid.Configuration> {
  let known: Promise<openid.Configuration> | null = null
  let expiresAt = 0
  return () => {
    if (known !== null && performance.now() < expiresAt) return known
    const asked = discover()
    known = asked
    expiresAt = performance.now() + METADATA_MS
    asked.catch(() => {
      if (known === asked) known = null
    })
    return asked
  }
}

async function discover(
  issuer: URL,
  options: OidcOptions,
  definition: OidcDefinition,
  fetch: openid.CustomFetch,
): Promise<openid.Configuration> {
  const authentication = authenticateWith(definition.clientSecret ?? (() => options.clientSecret))
  const bounds = { ...DISCOVERY, [openid.customFetch]: fetch }
  const config = await openid.discovery(issuer, options.clientId, undefined, authentication, bounds)
  // The code flow may trust TLS in place of the signature; we check both.
  openid.enableNonRepudiationChecks(config)
  return bounded(config)
}

function algorithmOf(idToken: string | undefined): unknown {
  const [header = ''] = idToken?.split('.', 1) ?? []
  return (JSON.parse(Buffer.from(header, 'base64url').toString()) as { alg?: unknown }).alg
}

function toProfile(claims: Readonly<Record<string, unknown>> & { iss: string; sub: string }) {
  return {
    issuer: claims.iss,
    subject: claims.sub,
    username: textOf(claims['preferred_username']) ?? textOf(claims['nickname']),
    name: textOf(claims['name']) ?? textOf(claims['nickname']),
  }
}

/** By our clock: some providers issue tokens for some minutes ago. One that lies ahead is nobody's proof. */
function provedMsAgo({ auth_time: provedAt }: openid.IDToken): number | null {
  if (typeof provedAt !== 'number') return null
  const ago = Date.now() - provedAt * 1000
  return ago < -SKEW_SECONDS * 1000 ? null : Math.max(0, ago)
}
