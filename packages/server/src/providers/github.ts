import { z } from 'zod'
import type { Credentials } from './client.ts'
import { oauth2 } from './oauth2.ts'
import type { Provider } from './provider.ts'

const userSchema = z.object({ id: z.int().positive(), login: z.string(), name: z.string().nullish() })
const emailsSchema = z.array(z.object({ email: z.string(), primary: z.boolean(), verified: z.boolean() }))

/** Sign-in with GitHub; make the OAuth app at github.com, under Settings, Developer settings. */
export function github(credentials: Credentials): Provider {
  return oauth2(
    {
      id: 'github',
      name: 'GitHub',
      issuer: 'https://github.com/login/oauth',
      authorizationEndpoint: 'https://github.com/login/oauth/authorize',
      tokenEndpoint: 'https://github.com/login/oauth/access_token',
      scope: 'read:user user:email',
      reauthentication: { prompt: 'select_account' },
      async profile(get) {
        const { id, login, name } = userSchema.parse(await get('https://api.github.com/user'))
        const emails = emailsSchema.parse(await get('https://api.github.com/user/emails'))
        const primary = emails.find((email) => email.primary)
        return {
          // Logins change hands; the number does not.
          subject: String(id),
          username: login,
          name: name ?? null,
          email: primary?.email ?? null,
          emailVerified: primary?.verified ?? false,
        }
      },
    },
    credentials,
  )
}
