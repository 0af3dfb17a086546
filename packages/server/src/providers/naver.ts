import { z } from 'zod'
import type { Credentials } from './client.ts'
import { oauth2 } from './oauth2.ts'
import { type Provider, textOf } from './provider.ts'

const answerSchema = z.object({
  response: z.object({ id: z.string(), nickname: z.string().optional(), name: z.string().optional(), email: z.string().optional() }),
})

/** Sign-in with Naver; make the application at developers.naver.com. Addresses from there prove nothing: Naver does not say whether they were. */
export function naver(credentials: Credentials): Provider {
  return oauth2(
    {
      id: 'naver',
      name: 'Naver',
      issuer: 'https://nid.naver.com',
      authorizationEndpoint: 'https://nid.naver.com/oauth2.0/authorize',
      tokenEndpoint: 'https://nid.naver.com/oauth2.0/token',
      reauthentication: { auth_type: 'reauthenticate' },
      async profile(get) {
        const { response } = answerSchema.parse(await get('https://openapi.naver.com/v1/nid/me'))
        const { id, nickname, name, email } = response
        return {
          subject: id,
          username: textOf(nickname),
          name: textOf(name) ?? textOf(nickname),
          email: textOf(email),
          emailVerified: false,
        }
      },
    },
    credentials,
  )
}
