import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { createClientAddress } from '../address.ts'
import { roleSchema } from '../identifiers.ts'
import { parseOrigin } from '../origin.ts'
import { readSecretFile } from '../private-files.ts'
import { isPagePath } from '../return-to.ts'
import { parseTarget } from '../storage/postgres/driver.ts'
import { ConfigError } from './config-error.ts'
import { providersSchema } from './providers.ts'

export const PREFIX = 'TRPC_LOGIN_'

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== ''),
)
const origin = z.string().refine(accepts(parseOrigin), 'must be an https origin such as https://app.example.com')

/** Every variable with its default and meaning: checks the environment and prints the help. */
export const VARIABLES = {
  HOST: z.string().min(1, 'must not be empty').default('127.0.0.1').describe('address to listen on'),
  PORT: z
    .string()
    .regex(/^\d{1,5}$/, 'must be a number from 0 to 65535')
    .transform(Number)
    .refine((port) => port <= 65_535, 'must be a number from 0 to 65535')
    .default(8443)
    .describe('port to listen on; 0 picks a free one'),
  DATA_DIR: z.string().min(1, 'must not be empty').default('./.trpc-login').describe('database file, development CA and certificate'),
  DATABASE_URL: z
    .string()
    .refine(
      (url) => /^sqlite:.+/.test(url) || accepts(parseTarget)(url),
      'must be sqlite:PATH or postgres://USER:PASSWORD@HOST:PORT/DATABASE',
    )
    .optional()
    .describe('sqlite:PATH or postgres://...; default sqlite:DATA_DIR/login.db'),
  DATABASE_POOL: z
    .string()
    .regex(/^(?:[1-9]\d{0,2}|1000)$/, 'must be a number from 1 to 1000')
    .transform(Number)
    .default(10)
    .describe('connections to PostgreSQL that a process holds at most'),
  TLS_CERT: z.string().min(1, 'must name a PEM file').optional().describe('certificate chain, PEM; default a development certificate'),
  TLS_KEY: z.string().min(1, 'must name a PEM file').optional().describe('private key, PEM'),
  BASE_URL: origin.optional().describe('public origin, where it differs from the listening address'),
  ORIGINS: list.pipe(z.array(origin)).default([]).describe('further browser origins allowed to call, comma separated'),
  TRUSTED_PROXIES: list
    .refine(
      accepts((ranges: string[]) => createClientAddress(ranges)),
      'must be addresses or CIDRs such as 10.0.0.0/8',
    )
    .default([])
    .describe('addresses or CIDRs whose X-Forwarded-For is believed, comma separated'),
  KEEP_ALIVE_MS: z
    .string()
    .regex(/^\d{4,6}$/, 'must be a number from 1000 to 600000')
    .transform(Number)
    .refine((ms) => ms >= 1000 && ms <= 600_000, 'must be a number from 1000 to 600000')
    .optional()
    .describe('how long an idle connection stays open; default 65000 with TRUSTED_PROXIES, else 10000'),
  APP_URL: origin.optional().describe('origin of the pages to come back to from a provider, where it is not the public one'),
  FAILURE_PATH: z
    .string()
    .refine(isPagePath, 'must be a path such as /sign-in')
    .optional()
    .describe('page there that is told of a sign-in with a provider that failed; default a plain page of ours'),
  PROVIDERS: providersSchema
    .default([])
    .describe('providers to sign in with, as a JSON list; see docs/oauth.md. Holds secrets: use TRPC_LOGIN_PROVIDERS_FILE'),
  RESET_URL: z
    .url({ protocol: /^https$/, error: 'must be an https URL such as https://app.example.com/reset-password' })
    .optional()
    .describe('page that sets a new password; default /reset-password under APP_URL, else under the public origin'),
  ROLES: list.pipe(z.array(roleSchema)).default([]).describe("the application's roles besides admin, comma separated"),
  REGISTRATION: z.enum(['open', 'closed'], 'must be open or closed').default('closed').describe('whether auth.register makes accounts'),
} as const

/** Passwords stand in them. */
const SECRETS: ReadonlySet<string> = new Set(['DATABASE_URL', 'PROVIDERS'])

const schema = z.strictObject(VARIABLES).refine((values) => (values.TLS_CERT === undefined) === (values.TLS_KEY === undefined), {
  path: ['TLS_KEY'],
  message: 'must be set together with TRPC_LOGIN_TLS_CERT',
})

type Environment = Readonly<Record<string, string | undefined>>

/** The checked values, with their defaults. @throws ConfigError naming each that is unknown or wrong */
export function readVariables(env: Environment): z.output<typeof schema> {
  const result = schema.safeParse(pickVariables(env))
  if (!result.success) throw new ConfigError(result.error.issues.map(describe).join('\n'))
  return result.data
}

/** One line a variable, for `--help`. */
export function describeVariables(): string {
  return Object.entries(VARIABLES)
    .map(([name, type]) => `  ${`${PREFIX}${name}`.padEnd(27)}${type.description ?? ''}${defaultOf(type)}`)
    .join('\n')
}

function defaultOf(type: z.ZodType): string {
  const value: unknown = type.safeParse(undefined).data
  return typeof value === 'string' || typeof value === 'number' ? ` (default ${value})` : ''
}

function pickVariables(env: Environment): Record<string, string> {
  const values: Record<string, string> = {}
  for (const [key, value] of Object.entries(env)) {
    if (!key.startsWith(PREFIX) || value === undefined) continue
    const name = key.slice(PREFIX.length)
    const isFile = name.endsWith('_FILE') && Object.hasOwn(VARIABLES, name.slice(0, -5))
    const target = isFile ? name.slice(0, -5) : name
    if (Object.hasOwn(values, target)) throw new ConfigError(`${PREFIX}${target} and ${PREFIX}${target}_FILE are both set; set one`)
    values[target] = isFile ? readValue(key, value, SECRETS.has(target)) : value
  }
  return values
}

function readValue(key: string, file: string, isSecret: boolean): string {
  try {
    return (isSecret ? readSecretFile(file) : readFileSync(file, 'utf8')).trim()
  } catch (cause) {
    if (cause instanceof TypeError) throw new ConfigError(`${key}: ${cause.message}`, { cause })
    throw new ConfigError(`${key} names a file that cannot be read: ${file}`, { cause })
  }
}

function describe(issue: z.core.$ZodIssue): string {
  const name = `${PREFIX}${String(issue.path[0])}`
  if (name === `${PREFIX}PROVIDERS` && issue.path.length > 1) return `${name} ${z.core.toDotPath(issue.path.slice(1))}: ${issue.message}`
  if (issue.code !== 'unrecognized_keys') return `${name} ${issue.message}`
  const known = Object.keys(VARIABLES)
    .map((name) => `${PREFIX}${name}`)
    .join(', ')
  return `${issue.keys.map((key) => `${PREFIX}${key}`).join(', ')} is not a setting; known are ${known}, each also with _FILE`
}

function accepts<T>(parse: (value: T) => unknown): (value: T) => boolean {
  return (value) => {
    try {
      parse(value)
      return true
    } catch {
      // The message beside this check says what is allowed.
      return false
    }
  }
}
