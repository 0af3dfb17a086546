import type { Credentials } from './client.ts'
import { createOidcProvider } from './oidc.ts'
import type { Provider } from './provider.ts'

/** Sign-in with Kakao; make the application at developers.kakao.com and switch OpenID Connect on there. */
export function kakao(credentials: Credentials): Provider {
  return createOidcProvider(
    {
      id: 'kakao',
      name: 'Kakao',
      issuer: 'https://kauth.kakao.com',
      scope: 'openid profile_nickname account_email',
      ...credentials,
    },
    { reauthentication: { prompt: 'login' } },
  )
}
