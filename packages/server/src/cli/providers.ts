import { z } from 'zod'
import { apple, github, google, kakao, line, microsoft, naver, oidc, type Provider } from '../providers/index.ts'

const text = z.string('must be a string').min(1, 'must not be empty')
const registration = { registration: z.enum(['open', 'closed'], 'must be open or closed').optional() }
const credentials = { clientId: text, clientSecret: text, ...registration }
const preset = <T extends string>(provider: T) => z.strictObject({ provider: z.literal(provider), ...credentials })

const entry = z.discriminatedUnion(
  'provider',
  [
    preset('google'),
    preset('github'),
    preset('kakao'),
    preset('naver'),
    preset('line'),
    z.strictObject({ provider: z.literal('microsoft'), ...credentials, tenant: text.optional() }),
    z.strictObject({ provider: z.literal('apple'), clientId: text, teamId: text, keyId: text, privateKey: text, ...registration }),
    z.strictObject({
      provider: z.literal('oidc'),
      ...credentials,
      id: z.string().regex(/^[a-z0-9-]{1,32}$/, 'must be a-z, 0-9 and -'),
      name: text,
      issuer: z.url({ protocol: /^https$/, error: 'must be an https URL' }),
      scope: text.optional(),
    }),
  ],
  'must be google, github, microsoft, apple, kakao, naver, line or oidc',
)

/** `[{"provider":"google","clientId":"...","clientSecret":"..."}]`, checked to the last key. */
export const providersSchema = z
  .string()
  .transform(parseJson)
  .pipe(z.array(entry, 'must be a JSON list'))
  .transform((entries, ctx) => {
    try {
      return entries.map(toProvider)
    } catch (error) {
      ctx.addIssue({ code: 'custom', message: (error as Error).message })
      return z.NEVER
    }
  })

function parseJson(json: string, ctx: z.RefinementCtx): unknown {
  try {
    return JSON.parse(json)
  } catch {
    // The engine's own text would quote a piece of it, which may be a secret.
    ctx.addIssue({ code: 'custom', message: 'must be valid JSON' })
    return z.NEVER
  }
}

function toProvider(options: z.infer<typeof entry>): Provider {
  switch (options.provider) {
    case 'google':
      return google(present(options))
    case 'github':
      return github(present(options))
    case 'kakao':
      return kakao(present(options))
    case 'naver':
      return naver(present(options))
    case 'line':
      return line(present(options))
    case 'microsoft':
      return microsoft(present(options))
    case 'apple':
      return apple(present(options))
    case 'oidc':
      return oidc(present(options))
  }
}

type Present<T> = { [K in keyof T]: Exclude<T[K], undefined> }

/** Fields that were left out are absent, not undefined. */
function present<T extends object>(options: T): Present<T> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as Present<T>
}
