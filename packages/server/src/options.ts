import { availableParallelism } from 'node:os'
import { z } from 'zod'
import { roleSchema } from './identifiers.ts'
import type { Log } from './log.ts'
import { parseOrigin } from './origin.ts'
import type { Provider } from './providers/provider.ts'
import type { ContextRequest } from './request.ts'
import { isPagePath } from './return-to.ts'
import { isSynchronousSchema, type StandardSchema } from './standard-schema.ts'
import type { Attributes, Storage } from './storage/storage.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS

/** How `createAuth` behaves; every field is optional, and spans are milliseconds. */
export interface AuthOptions<TRole extends string = string, TAttributes extends Attributes = Attributes> {
  /** Where users and sessions live. @default the embedded database in `./.trpc-login/login.db` */
  storage?: Storage
  session?: {
    /** How long a session lives unused. @default 60 minutes */
    idleMs?: number
    /** How long a session lives however much it is used. @default 24 hours */
    absoluteMs?: number
    /** The same for `login` with `remember`. @default 14 days */
    rememberedIdleMs?: number
    /** At most 30 days (NIST SP 800-63B-4 section 2.1.3). @default 30 days */
    rememberedAbsoluteMs?: number
    /** How long after proving a secret a session counts as fresh. @default 15 minutes */
    freshMs?: number
    /** Sessions a user may have at once; the oldest end first. @default 50 */
    maxPerUser?: number
  }
  password?: {
    /** In characters, 8 to 64. @default 15 (NIST SP 800-63B-4 section 3.1.1.2) */
    minLength?: number
    /** Words that make no password, such as the service's name. @default trpc-login alone */
    contextWords?: readonly string[]
    /** Hashes computed at the same time; fewer where several processes share the cores. @default one a core */
    atOnce?: number
    /** Argon2id memory in KiB. @default 19456, which is also the least */
    memoryKiB?: number
    /** Argon2id passes. @default 2, which is also the least */
    iterations?: number
    /** Argon2id lanes. @default 1 */
    parallelism?: number
  }
  /** Whether `auth.register` makes accounts. @default 'closed' */
  registration?: 'open' | 'closed'
  /** Services to sign in with, such as `google({ clientId, clientSecret })` of `@trpc-login/server/providers`. @default none */
  providers?: readonly Provider[]
  /** The public origin, to which providers send people back. @default what `createServer` says, the listening address at last */
  baseUrl?: string
  /** The origin of the application's pages, where it is another one: sign-ins with providers come back to a path of it. @default `baseUrl` */
  appUrl?: string
  /**
   * The page of the application that is told of a sign-in with a provider that failed, as `?reason=sign_in_failed&requestId=...`.
   * @default a plain page of ours
   */
  failurePath?: string
  /** The page of yours to which a link for setting a new password leads; it gets `#token=...`. @default `/reset-password` under `appUrl`, else under `baseUrl` */
  resetUrl?: string
  /** What one address (IPv4, or IPv6 /64) may do; accounts have limits of their own. Raise them where many people share one address. */
  limits?: {
    /** Wrong passwords in 15 minutes. @default 20 */
    failuresPerAddress?: number
    /** Calls in a minute that check or set a password. @default 60 */
    callsPerAddress?: number
    /** Accounts made in an hour. @default 5 */
    signUpsPerAddress?: number
  }
  /** The application's roles besides `admin`: typed in `requireRole`, and no others can be given. @default any lower-case word can be given */
  roles?: readonly TRole[]
  /**
   * Browser origins, besides the own one, whose pages may act with a session where another adapter than `createServer` takes the
   * requests. @default none
   */
  origins?: readonly string[]
  /**
   * The application's own fields of a user: types `user.attributes`, and checks it on every write. New users get what it gives for `{}`.
   * A schema of zod, zod/mini, valibot or any other library that speaks Standard Schema v1, and that checks without waiting.
   */
  attributes?: StandardSchema<TAttributes>
  /**
   * Addresses or CIDRs of proxies whose `X-Forwarded-For` is believed. An adapter that knows no connection is taken to be behind them.
   * @default none
   */
  trustedProxies?: readonly string[]
  /**
   * Finds the caller's ip in an adapter's request where the connection does not tell, as behind the fetch adapter: one address, or
   * `null`. `createContext(opts, { ip })` goes before it. @default the connection, behind `trustedProxies`
   */
  clientIp?: (req: ContextRequest['req']) => string | null
  /** The clock. @default Date.now */
  now?: () => number
  /** Where events go. @default JSON lines on standard error */
  log?: Log
}

const PROVIDER = /^[a-z0-9-]{1,32}$/

function asOrigin(text: string, ctx: z.RefinementCtx): string {
  try {
    return parseOrigin(text)
  } catch {
    ctx.addIssue({ code: 'custom', message: 'must be an https origin such as https://app.example.com' })
    return z.NEVER
  }
}

const span = z.int('must be a positive whole number').positive('must be a positive whole number')

const schema = z.strictObject({
  storage: z.custom<Storage>((value) => typeof value === 'object' && value !== null, 'must be a storage').optional(),
  session: z
    .strictObject({
      idleMs: span.default(HOUR_MS),
      absoluteMs: span.default(DAY_MS),
      rememberedIdleMs: span.default(14 * DAY_MS),
      rememberedAbsoluteMs: span.max(30 * DAY_MS, 'must be at most 30 days').default(30 * DAY_MS),
      freshMs: span.default(15 * MINUTE_MS),
      maxPerUser: span.default(50),
    })
    .prefault({}),
  password: z
    .strictObject({
      minLength: z.int().min(8, 'must be 8 to 64').max(64, 'must be 8 to 64').default(15),
      contextWords: z.array(z.string().min(4, 'must have 4 characters or more')).readonly().default([]),
      atOnce: span.default(() => availableParallelism()),
      memoryKiB: z.int().min(19_456, 'must be at least 19456').max(4_194_304, 'must be at most 4194304').default(19_456),
      iterations: z.int().min(2, 'must be at least 2').max(64, 'must be at most 64').default(2),
      parallelism: z.int().min(1, 'must be at least 1').max(64, 'must be at most 64').default(1),
    })
    .prefault({}),
  registration: z.enum(['open', 'closed'], 'must be open or closed').default('closed'),
  providers: z
    .array(
      z.custom<Provider>((value) => PROVIDER.test(String((value as Partial<Provider> | null)?.id)), 'must have an id of a-z, 0-9 and -'),
    )
    .refine((list) => new Set(list.map(({ id }) => id)).size === list.length, 'must have ids that differ')
    .readonly()
    .default([]),
  baseUrl: z.string().transform(asOrigin).optional(),
  appUrl: z.string().transform(asOrigin).optional(),
  failurePath: z.string().refine(isPagePath, 'must be a path such as /sign-in').optional(),
  resetUrl: z.url({ protocol: /^https$/, error: 'must be an https URL' }).optional(),
  limits: z
    .strictObject({ failuresPerAddress: span.default(20), callsPerAddress: span.default(60), signUpsPerAddress: span.default(5) })
    .prefault({}),
  roles: z.array(roleSchema).readonly().default([]),
  origins: z.array(z.string()).readonly().default([]),
  attributes: z
    .custom<StandardSchema<Attributes>>(
      isSynchronousSchema,
      'must be a Standard Schema v1, as zod and valibot make, that checks without waiting',
    )
    .optional(),
  trustedProxies: z.array(z.string()).readonly().default([]),
  clientIp: z
    .custom<(req: ContextRequest['req']) => string | null>((value) => typeof value === 'function', 'must be a function')
    .optional(),
  now: z.custom<() => number>((value) => typeof value === 'function', 'must be a function').default(() => Date.now),
  log: z.custom<Log>((value) => typeof value === 'object' && value !== null, 'must be a logger').optional(),
})

type Nested = 'session' | 'password' | 'limits'
type Defaulted = 'registration' | 'providers' | 'roles' | 'origins' | 'trustedProxies' | 'now'

/** The options with their defaults. Written down rather than inferred: what applications compile against names no zod of ours. */
export type ResolvedOptions = {
  readonly [K in Exclude<keyof AuthOptions, Nested | Defaulted>]?: AuthOptions[K] | undefined
} & Readonly<Required<Pick<AuthOptions, Defaulted>>> & { readonly [K in Nested]: Readonly<Required<NonNullable<AuthOptions[K]>>> }
export type SessionOptions = ResolvedOptions['session']
export type LimitOptions = ResolvedOptions['limits']

/**
 * The options with their defaults, checked once.
 * @throws TypeError naming each field that is wrong and what is allowed
 */
export function resolveOptions(options: AuthOptions): ResolvedOptions {
  const result = schema.safeParse(options)
  if (result.success) return Object.freeze(result.data)
  const problems = result.error.issues.map((issue) => {
    if (issue.code === 'unrecognized_keys') return `unknown option ${[...issue.path, issue.keys.join(', ')].join('.')}`
    const got: unknown = issue.path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown>)[key], options)
    return `${issue.path.join('.')} ${issue.message}, got ${String(got)}`
  })
  throw new TypeError(`createAuth: ${problems.join('; ')}`)
}
