import type { Audit } from './audit.ts'
import { AuthError } from './errors.ts'
import type { Identities } from './identities.ts'
import type { Log } from './log.ts'
import { type Profile, type Provider, ProviderRefused, ProviderUnreachable } from './providers/provider.ts'
import { createPurge } from './purge.ts'
import { safeReturnTo } from './return-to.ts'
import type { Live, Sessions } from './sessions.ts'
import type { TransactionRecord, TransactionStore, UserRecord } from './storage/storage.ts'
import type { Throttle } from './throttle.ts'
import { hashToken, isToken, newToken } from './tokens.ts'

/** How long a sign-in with a provider may take, and so its cookie. */
export const TRANSACTION_MS = 10 * 60_000
const TOLERANCE_MS = 60_000

/** What a caller wants of a sign-in with a provider. */
export interface BeginOptions {
  readonly provider: string
  readonly returnTo?: string | undefined
  readonly remember?: boolean | undefined
  readonly link?: boolean | undefined
  readonly loopbackPort?: number | undefined
}

/** Who asks, as the request tells. */
export interface Asker {
  /** The cookie of this browser or program. */
  readonly binding: string | null
  readonly live: Live | null
  readonly address: string | null
}

/** What came of a sign-in: whom to start a session for, or what happened to the one there is. */
export type Outcome = { readonly returnTo: string } & (
  | { readonly kind: 'signed_in'; readonly user: UserRecord; readonly remember: boolean }
  | { readonly kind: 'reauthenticated' | 'linked'; readonly live: Live }
)

export type OAuth = ReturnType<typeof createOAuth>

/** Sign-in with others: what is under way lives in the store, for ten minutes, and can be finished once and where it began. */
export function createOAuth(deps: {
  providers: readonly Provider[]
  store: TransactionStore
  identities: Identities
  sessions: Pick<Sessions, 'isFresh'>
  throttle: Pick<Throttle, 'call'>
  audit: Audit
  baseUrl: () => string
  now: () => number
  log: Log
}) {
  const { store, identities, sessions, throttle, audit, baseUrl, now, log } = deps
  const providers = new Map(deps.providers.map((provider) => [provider.id, provider]))
  const purge = createPurge({ remove: store.purge, log, failure: 'transactions_purge_failed' })

  /** @throws `not_found`, naming those that there are */
  function get(id: string): Provider {
    const provider = providers.get(id)
    if (provider === undefined)
      throw new AuthError('not_found', { message: `No such provider; there are ${[...providers.keys()].join(', ') || 'none'}` })
    return provider
  }

  /**
   * Where to send the browser. `binding` is kept by the caller and must come back with the answer.
   * @throws `not_found`, `reauthentication_required` to link without a fresh session, `rate_limited`, `unavailable` when the provider is
   */
  async function begin(options: BeginOptions, { binding, live, address }: Asker & { binding: string }): Promise<{ url: string }> {
    const provider = get(options.provider)
    const link = options.link ?? false
    if (link && live === null) throw new AuthError('not_signed_in')
    if (link && live !== null && !sessions.isFresh(live.session)) throw new AuthError('reauthentication_required')
    await throttle.call(address)
    const [state, nonce, codeVerifier] = [newToken(), newToken(), newToken()]
    const url = await ask(provider, () =>
      provider.authorizationUrl({ redirectUri: redirectUri(provider), state, nonce, codeVerifier, reauthenticate: live !== null && !link }),
    )
    purge.sometimes(now())
    await store.put({
      stateHash: hashToken(state),
      bindingHash: hashToken(binding),
      provider: provider.id,
      nonce,
      codeVerifier,
      returnTo: safeReturnTo(options.returnTo),
      remember: options.remember ?? false,
      link,
      userId: live?.user.id ?? null,
      sessionId: live?.session.id ?? null,
      loopbackPort: options.loopbackPort ?? null,
      createdAt: now(),
      expiresAt: now() + TRANSACTION_MS,
    })
    return { url }
  }

  /** Where the program listens that began this sign-in, or `null` when a browser did: the answer is handed on to it untouched. */
  async function loopbackTarget(providerId: string, parameters: URLSearchParams): Promise<URL | null> {
    const state = parameters.get('state')
    const begun = state === null ? null : await store.find(hashToken(state))
    if (begun?.loopbackPort == null || begun.provider !== providerId || begun.expiresAt <= now()) return null
    return new URL(`http://127.0.0.1:${begun.loopbackPort}/?${parameters.toString()}`)
  }

  /**
   * Takes what a provider sent back, once, from where it began.
   * @throws `sign_in_failed` for whatever does not hold, `unavailable` when the provider is, and what the rules of linking refuse
   */
  async function finish(providerId: string, parameters: URLSearchParams, asker: Asker): Promise<Outcome> {
    const provider = get(providerId)
    const state = parameters.get('state') ?? ''
    const begun = await take(provider, state, asker.binding)
    try {
      const secrets = { redirectUri: redirectUri(provider), state, nonce: begun.nonce, codeVerifier: begun.codeVerifier }
      const profile = await ask(provider, () => provider.identify({ ...secrets, parameters }))
      return { returnTo: begun.returnTo, ...(await conclude(begun, profile, provider, asker)) }
    } catch (error) {
      // Only here, where a sign-in was really under way: strangers must not be able to fill the log.
      const reason = error instanceof AuthError ? error.reason : 'unexpected'
      log.warn({ provider: providerId, reason }, 'authn_login_fail')
      await audit.append('authn_login_fail', { actorId: null, address: asker.address }, null, { provider: providerId, reason })
      throw error
    }
  }

  async function take(provider: Provider, state: string, binding: string | null): Promise<TransactionRecord> {
    const begun = isToken(state) && binding !== null ? await store.take(hashToken(state), hashToken(binding)) : null
    if (begun === null || begun.provider !== provider.id || begun.expiresAt <= now()) {
      throw new AuthError('sign_in_failed', { message: 'This sign-in was finished, is too old, or began in another browser; start again' })
    }
    return begun
  }

  async function conclude(begun: TransactionRecord, profile: Profile, provider: Provider, { live, address }: Asker) {
    const same = live !== null && live.session.id === begun.sessionId ? live : null
    if (begun.link) {
      if (same === null) throw new AuthError('session_ended')
      await identities.link(profile, provider, same, address)
      return { kind: 'linked', live: same } as const
    }
    const user = await identities.userOf(profile, provider, address)
    if (same === null || same.user.id !== user.id) return { kind: 'signed_in', user, remember: begun.remember } as const
    // A provider that remembers the browser has proved nothing about who sits there now. What was asked of it stood in an address that
    // whoever sits there could change, so only its own word counts.
    if (profile.provedMsAgo === null) {
      throw new AuthError('reauthentication_required', {
        message: `${provider.name} does not say when you last proved there who you are; confirm your password, or sign out and in again`,
      })
    }
    const tookMs = now() - begun.createdAt
    if (profile.provedMsAgo > tookMs + TOLERANCE_MS) {
      throw new AuthError('reauthentication_required', { message: `${provider.name} did not ask again who you are` })
    }
    return { kind: 'reauthenticated', live: same } as const
  }

  function redirectUri({ id }: Provider): string {
    return `${baseUrl()}${callbackPath(id)}`
  }

  /** Runs a call to a provider; its failures are told apart for callers, and told in full to the log. */
  async function ask<T>(provider: Provider, call: () => Promise<T>): Promise<T> {
    try {
      return await call()
    } catch (cause) {
      if (!(cause instanceof ProviderUnreachable || cause instanceof ProviderRefused)) throw cause
      log.warn({ provider: provider.id, error: trail(cause) }, 'provider_failed')
      if (cause instanceof ProviderUnreachable) {
        throw new AuthError('unavailable', {
          message: `${provider.name} cannot be reached; try again later, or sign in another way`,
          cause,
        })
      }
      const message =
        cause.code === 'access_denied' ? 'The sign-in was cancelled' : `${provider.name} did not confirm the sign-in; start again`
      throw new AuthError('sign_in_failed', { message, cause })
    }
  }

  return {
    get,
    begin,
    loopbackTarget,
    finish,
    /** Whom one can sign in with. */
    providers: () => [...providers.values()].map(({ id, name }) => ({ id, name })),
  }
}

/** Where a provider sends people back to, under our origin. */
export function callbackPath(providerId: string): string {
  return `/oauth/${providerId}/callback`
}

/** What led to an error, without the bodies that libraries attach: they may hold tokens. */
function trail(error: unknown): string {
  const messages: string[] = []
  for (let next = error; next instanceof Error && messages.length < 5; next = next.cause) messages.push(next.message)
  return messages.join(': ')
}
