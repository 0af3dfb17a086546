import * as openid from 'openid-client'
import { authorizationUrl, bounded, type Credentials, calling, exchangeCode } from './client.ts'
import { type Profile, type Provider, ProviderRefused } from './provider.ts'

/** A provider that speaks OAuth 2.0 alone, so that the profile is asked for where an ID token would tell. */
export interface OAuth2Definition {
  readonly id: string
  readonly name: string
  /** What its subjects are unique under. */
  readonly issuer: string
  readonly authorizationEndpoint: string
  readonly tokenEndpoint: string
  readonly scope?: string
  /** Sent to have the person prove again who they are. */
  readonly reauthentication?: Readonly<Record<string, string>>
  /** Reads the profile with `get`, which answers the JSON at an address. */
  profile(get: (url: string) => Promise<unknown>): Promise<Omit<Profile, 'issuer' | 'provedMsAgo'>>
}

/** A provider made of its constants and of what reads its profile. */
export function oauth2(definition: OAuth2Definition, credentials: Credentials): Provider {
  const { clientId, clientSecret, registration } = credentials
  const { id, name, issuer, scope, reauthentication = {} } = definition
  const server = { issuer, authorization_endpoint: definition.authorizationEndpoint, token_endpoint: definition.tokenEndpoint }
  const config = bounded(new openid.Configuration(server, clientId, clientSecret, openid.ClientSecretPost(clientSecret)))

  return {
    id,
    name,
    formPost: false,
    registration: registration ?? null,
    authorizationUrl: (request) =>
      calling(name, () =>
        authorizationUrl(config, request, {
          ...(scope === undefined ? {} : { scope }),
          ...(request.reauthenticate ? reauthentication : {}),
        }),
      ),
    identify: (answer) =>
      calling(name, async () => {
        const { access_token: token } = await exchangeCode(config, answer, null)
        const profile = await definition.profile((url) => readJson(config, token, url))
        if (profile.subject === '') throw new ProviderRefused(`${name} did not say who this is`)
        return { ...profile, issuer, provedMsAgo: null }
      }),
  }
}

async function readJson(config: openid.Configuration, token: string, url: string): Promise<unknown> {
  const headers = new Headers({ accept: 'application/json', 'user-agent': 'trpc-login' })
  const response = await openid.fetchProtectedResource(config, token, new URL(url), 'GET', null, headers)
  if (!response.ok) throw new ProviderRefused(`${url} answered ${response.status}`)
  return response.json()
}
