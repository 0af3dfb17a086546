import { z } from 'zod'
import type { Credentials } from './client.ts'
import { oauth2 } from './oauth2.ts'
import { type Provider, textOf } from './provider.ts'

const profileSchema = z.object({ userId: z.string(), displayName: z.string().optional() })

/** Sign-in with LINE; make the channel at developers.line.biz. Without an address: LINE puts it only into ID tokens signed with a shared secret. */
export function line(credentials: Credentials): Provider {
  return oauth2(
    {
      id: 'line',
      name: 'LINE',
      issuer: 'https://access.line.me',
      authorizationEndpoint: 'https://access.line.me/oauth2/v2.1/authorize',
      tokenEndpoint: 'https://api.line.me/oauth2/v2.1/token',
      scope: 'profile',
      async profile(get) {
        const { userId, displayName } = profileSchema.parse(await get('https://api.line.me/v2/profile'))
        return { subject: userId, username: textOf(displayName), name: textOf(displayName), email: null, emailVerified: false }
      },
    },
    credentials,
  )
}
