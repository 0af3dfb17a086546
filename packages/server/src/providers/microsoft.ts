import type { Credentials } from './client.ts'
import { createOidcProvider } from './oidc.ts'
import type { Provider } from './provider.ts'

/** How this application is known at Microsoft. */
export interface MicrosoftOptions extends Credentials {
  /** A tenant's id or domain; `common`, `organizations` or `consumers` for the many. @default 'common' */
  readonly tenant?: string
}

/**
 * Sign-in with Microsoft; register the application at entra.microsoft.com. Addresses from there prove nothing, because a tenant's
 * administrator writes what he likes, so they link no account.
 */
export function microsoft({ tenant = 'common', ...credentials }: MicrosoftOptions): Provider {
  return createOidcProvider(
    { id: 'microsoft', name: 'Microsoft', issuer: `https://login.microsoftonline.com/${encodeURIComponent(tenant)}/v2.0`, ...credentials },
    { provesEmail: false, reauthentication: { prompt: 'login' } },
  )
}
