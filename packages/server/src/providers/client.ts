import * as openid from 'openid-client'
import { boundedFetch } from './bounded-fetch.ts'
import { type AuthorizationAnswer, type AuthorizationRequest, ProviderRefused, ProviderUnreachable } from './provider.ts'

/** How this application is known at a provider. */
export interface Credentials extends Registration {
  readonly clientId: string
  readonly clientSecret: string
}

/** What every provider may say beside. */
export interface Registration {
  /** Whether who comes from here for the first time gets an account. @default what `createAuth` says */
  readonly registration?: 'open' | 'closed'
}

const TIMEOUT_SECONDS = 5

/** Where a configuration sends its own requests: bounded, whatever the provider does. */
export function bounded(config: openid.Configuration): openid.Configuration {
  config.timeout = TIMEOUT_SECONDS
  config[openid.customFetch] = (url, init) => boundedFetch(url, init as RequestInit)
  return config
}

export const DISCOVERY = { timeout: TIMEOUT_SECONDS, [openid.customFetch]: boundedFetch as openid.CustomFetch }

/** Shows the secret as the provider wants it: in the header (RFC 6749 section 2.3.1), unless it takes it in the body alone. */
export function authenticateWith(secret: () => string): openid.ClientAuth {
  return (server, client, body, headers) => {
    const methods = server.token_endpoint_auth_methods_supported ?? ['client_secret_basic']
    const authenticate = methods.includes('client_secret_basic') ? openid.ClientSecretBasic : openid.ClientSecretPost
    return authenticate(secret())(server, client, body, headers)
  }
}

/** The code flow with PKCE S256 and state (RFC 9700 section 2.1), and what the provider asks for beside. */
export async function authorizationUrl(
  config: openid.Configuration,
  request: AuthorizationRequest,
  extra: Readonly<Record<string, string>>,
): Promise<string> {
  return openid.buildAuthorizationUrl(config, {
    redirect_uri: request.redirectUri,
    state: request.state,
    code_challenge: await openid.calculatePKCECodeChallenge(request.codeVerifier),
    code_challenge_method: 'S256',
    ...extra,
  }).href
}

/** The tokens for what the browser brought back; with a nonce an ID token is required, and checked. */
export async function exchangeCode(
  config: openid.Configuration,
  answer: AuthorizationAnswer,
  nonce: string | null,
): Promise<openid.TokenEndpointResponse & openid.TokenEndpointResponseHelpers> {
  const url = new URL(answer.redirectUri)
  // Not one by one: each time the whole would be written anew.
  url.search = answer.parameters.toString()
  return openid.authorizationCodeGrant(config, url, {
    pkceCodeVerifier: answer.codeVerifier,
    expectedState: answer.state,
    ...(nonce === null ? {} : { expectedNonce: nonce, idTokenExpected: true }),
  })
}

/** Runs a call to a provider, and says of a failure only whether trying again may help. */
export async function calling<T>(name: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    if (cause instanceof ProviderRefused) throw cause
    const unreachable = inCauses(cause, (error) => error instanceof ProviderUnreachable || isTimeout(error))
    if (unreachable) throw new ProviderUnreachable(`${name} cannot be reached`, { cause })
    if (cause instanceof openid.AuthorizationResponseError)
      throw new ProviderRefused(`${name} answered ${cause.error}`, { code: cause.error, cause })
    throw new ProviderRefused(`what ${name} answered does not hold`, { cause })
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof openid.ClientError && error.code === 'OAUTH_TIMEOUT'
}

function inCauses(error: unknown, test: (error: unknown) => boolean): boolean {
  for (let next = error, depth = 0; next !== undefined && depth < 5; next = next instanceof Error ? next.cause : undefined, depth += 1) {
    if (test(next)) return true
  }
  return false
}
