import type { Credentials } from './client.ts'
import { createOidcProvider } from './oidc.ts'
import type { Provider } from './provider.ts'

/** Sign-in with Google; make the client at console.cloud.google.com, under APIs & Services, Credentials. */
export function google(credentials: Credentials): Provider {
  return createOidcProvider(
    { id: 'google', name: 'Google', issuer: 'https://accounts.google.com', ...credentials },
    // Google knows no prompt=login.
    { reauthentication: { prompt: 'select_account' } },
  )
}
