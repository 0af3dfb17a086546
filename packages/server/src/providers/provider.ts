/** A service that people may sign in with. Make one with `oidc`, or with one of the presets. */
export interface Provider {
  /** In the path of its redirect URI, `/oauth/<id>/callback`, and in `oauth.begin`: lower-case letters, digits and `-`. */
  readonly id: string
  /** As people know it. */
  readonly name: string
  /** It sends people back by a form rather than by a link. */
  readonly formPost: boolean
  /** Whether who comes from here for the first time gets an account; `null` as `createAuth` says. */
  readonly registration: 'open' | 'closed' | null
  /** Where to send the browser. @throws ProviderUnreachable, ProviderRefused */
  authorizationUrl(request: AuthorizationRequest): Promise<string>
  /** Who came back, once all that they brought has been checked. @throws ProviderUnreachable, ProviderRefused */
  identify(answer: AuthorizationAnswer): Promise<Profile>
}

/** What binds an answer to the question that it answers (RFC 9700 section 2.1). */
export interface AuthorizationSecrets {
  readonly redirectUri: string
  readonly state: string
  readonly nonce: string
  readonly codeVerifier: string
}

export interface AuthorizationRequest extends AuthorizationSecrets {
  /** Ask the person to prove again who they are, not only the browser. */
  readonly reauthenticate: boolean
}

export interface AuthorizationAnswer extends AuthorizationSecrets {
  /** What the browser brought back. */
  readonly parameters: URLSearchParams
}

/** What a provider says of a person; only issuer and subject together name them. */
export interface Profile {
  readonly issuer: string
  readonly subject: string
  /** What a username may be made of. */
  readonly username: string | null
  readonly name: string | null
  readonly email: string | null
  /** The provider says that the address is proved: boolean true, nothing that merely looks like it. */
  readonly emailVerified: boolean
  /** How long ago the person last proved who they are; `null` where the provider does not tell, which makes no session fresh. */
  readonly provedMsAgo: number | null
}

/** The provider is slow, down, or gives no answer that could be one; trying again may help. */
export class ProviderUnreachable extends Error {
  override readonly name = 'ProviderUnreachable'
}

/** What the provider or the browser brought does not hold. */
export class ProviderRefused extends Error {
  override readonly name = 'ProviderRefused'
  /** The person said no, or the provider did, with its OAuth error code. */
  readonly code: string | null

  constructor(message: string, options: { code?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause })
    this.code = options.code ?? null
  }
}

const TEXT_LIMIT = 320

/** A text of a provider's answer, or `null` for what is none or is longer than any use of it. */
export function textOf(value: unknown): string | null {
  return typeof value === 'string' && value !== '' && value.length <= TEXT_LIMIT && value.isWellFormed() ? value : null
}
