import { createAccountEvents } from './account-events.ts'
import { createAttributeRules } from './attributes.ts'
import { type Audit, createAudit } from './audit.ts'
import { createCallerIp } from './caller-ip.ts'
import type { AuthContext } from './context.ts'
import { createIdentities, type Identities } from './identities.ts'
import { createLiveSessions } from './live.ts'
import { createJsonLog, type Log, withRequestIds } from './log.ts'
import { createOAuth, type OAuth } from './oauth.ts'
import { type AuthOptions, resolveOptions } from './options.ts'
import { parseOrigin } from './origin.ts'
import { createPasswords } from './passwords.ts'
import { createGuards, type Guard } from './procedures.ts'
import { createRefusals } from './refusals.ts'
import { type ContextRequest, requireRequest } from './request.ts'
import { createRequestAuth } from './request-auth.ts'
import { createRouter } from './router.ts'
import { type CompleteSignIn, createCompleteSignIn } from './routers/oauth.ts'
import { createSessions, type Sessions } from './sessions.ts'
import { failClosed } from './storage/fail-closed.ts'
import { sqliteStorage } from './storage/sqlite.ts'
import type { Attributes, Storage } from './storage/storage.ts'
import { createThrottle } from './throttle.ts'
import { createUserAdmin, type UserAdmin } from './user-admin.ts'
import { createUserRules } from './user-rules.ts'
import { createUsers, type Users } from './users.ts'

const DEFAULT_DATABASE = './.trpc-login/login.db'
const DEFAULT_ORIGIN = 'https://localhost:8443'
const RESET_PATH = '/reset-password'

/** Ends sessions and lists them, in process. */
export interface AuthSessions extends Pick<Sessions, 'revoke' | 'revokeAll' | 'list' | 'purge'> {}

/** Reads what was done, by whom and to whom. */
export interface AuthAudit extends Pick<Audit, 'list' | 'perDay' | 'entry'> {}

/** Sign-in with a provider: what the callback route is made of, for adapters of your own. */
export interface AuthOAuth extends Pick<OAuth, 'providers' | 'get' | 'loopbackTarget'>, Pick<Identities, 'list'> {
  readonly complete: CompleteSignIn
  /** Where people go from a sign-in that failed: the application, and its page for that, where it has one. */
  readonly appUrl: string
  readonly failurePath: string | null
}

/** One application's sign-in: its router, its guards, and the same acts in process. */
export interface Auth<TRole extends string = string, TAttributes extends Attributes = Attributes> {
  /** Mount it in the application's router, by convention as `auth`. */
  readonly router: ReturnType<typeof createRouter>
  /** Lets only signed-in users through and gives the procedure `ctx.user` and `ctx.session`. @throws `not_signed_in`, `session_ended` */
  readonly requireUser: Guard<TAttributes>
  /** Like `requireUser`, and the user proved a secret recently. @throws `reauthentication_required` too */
  requireFresh(maxAgeMs?: number): Guard<TAttributes>
  /** Like `requireUser`, and the user has the role. @throws `forbidden` too */
  requireRole(role: TRole | 'admin'): Guard<TAttributes>
  /**
   * Gives an application's context its `auth`; call it first in `createContext` of any adapter. Give the caller's `ip` where the
   * adapter does not know the connection: one address, as the platform names it.
   * @throws `origin_refused`, `invalid_input` for what may not come in one request
   */
  createContext(request: ContextRequest, given?: { readonly ip?: string | null | undefined }): AuthContext
  readonly users: Users & UserAdmin
  readonly oauth: AuthOAuth
  /** What was done, by whom and to whom. */
  readonly audit: AuthAudit
  readonly sessions: AuthSessions
  readonly storage: Storage
  readonly log: Log
  /** Whether connections are expected through proxies: `trustedProxies` names some. */
  readonly trustsProxies: boolean
  /** Says at which origin the application is reached, unless the option `baseUrl` said so. `createServer` does it; do it yourself with other adapters. */
  useBaseUrl(origin: string): void
  /** Writes what is pending and closes the storage. */
  close(): Promise<void>
}

/**
 * Sessions, users and guards for one tRPC application. Mount `router`, put `createContext` into the application's context and
 * concatenate the guards.
 * @throws TypeError naming the option that is wrong and what is allowed
 */
export function createAuth<const TRole extends string = never, TAttributes extends Attributes = Attributes>(
  options: AuthOptions<TRole, TAttributes> = {},
): Auth<TRole, TAttributes> {
  const resolved = resolveOptions(options)
  const { now, registration } = resolved
  const log = withRequestIds(resolved.log ?? createJsonLog())
  const callerIp = createCallerIp({ ...resolved, log })
  const allowedOrigins = new Set(resolved.origins.map(parseOrigin))
  const storage = failClosed(resolved.storage ?? sqliteStorage({ path: DEFAULT_DATABASE }), createReport(log))
  const audit = createAudit({ store: storage.audit, now, log })
  const sessions = createSessions({ store: storage.sessions, audit, now, options: resolved.session, log })
  const passwords = createPasswords(resolved.password)
  const throttle = createThrottle({ store: storage.attempts, now, limits: resolved.limits, log })
  const attributes = createAttributeRules(resolved.attributes)
  let { baseUrl } = resolved
  const resetUrl = () => resolved.resetUrl ?? `${resolved.appUrl ?? baseUrl ?? DEFAULT_ORIGIN}${RESET_PATH}`
  const people = {
    store: storage.users,
    audit,
    passwords,
    throttle,
    now,
    rules: createUserRules(resolved.roles),
    attributes,
    refusalOf: sessions.refusalOf,
    log,
  }
  const users = { ...createUsers(people), ...createUserAdmin({ ...people, resetUrl }) }
  const identities = createIdentities({ ...people, store: storage.identities, users: storage.users, registration })
  const oauth = createOAuth({
    providers: resolved.providers,
    store: storage.transactions,
    identities,
    sessions,
    throttle,
    audit,
    now,
    log,
    baseUrl() {
      if (baseUrl === undefined) throw new TypeError('createAuth: baseUrl is needed for sign-in with a provider')
      return baseUrl
    },
  })
  const { appUrl = '', failurePath = null } = resolved
  const completeSignIn = createCompleteSignIn({ oauth, sessions, appUrl })
  const live = createLiveSessions({ store: storage.sessions, identities: storage.identities, changes: storage.changes, sessions, now, log })
  const events = createAccountEvents({ live, now })
  const guards = createGuards({ sessions, live, refusals: createRefusals({ audit, now, log }) })

  return {
    router: createRouter({ users, audit, sessions, events, guards, throttle, registration, oauth, identities, completeSignIn }),
    requireUser: asGuard(guards.requireUser),
    requireFresh: (maxAgeMs) => asGuard(guards.requireFresh(maxAgeMs)),
    requireRole: (role) => asGuard(guards.requireRole(role)),
    createContext(request, given = {}) {
      requireRequest(request)
      return { auth: createRequestAuth({ sessions, allowedOrigins }, request, callerIp(request, given)) }
    },
    users,
    oauth: {
      providers: oauth.providers,
      get: oauth.get,
      loopbackTarget: oauth.loopbackTarget,
      list: identities.list,
      complete: completeSignIn,
      appUrl,
      failurePath,
    },
    useBaseUrl(origin) {
      baseUrl ??= parseOrigin(origin)
    },
    audit,
    sessions,
    storage,
    log,
    trustsProxies: resolved.trustedProxies.length > 0,
    async close() {
      live.close()
      await sessions.flush()
      await storage.close()
    },
  }
}

/** Once a minute at most: every call meets what is wrong with a storage. */
function createReport(log: Log): (unfit: TypeError) => void {
  let saidAt = Number.NEGATIVE_INFINITY
  return ({ message }) => {
    if (performance.now() - saidAt < 60_000) return
    saidAt = performance.now()
    log.error({ error: message }, 'storage_not_fit')
  }
}

// The guard's own type says less than it is: our error shape and records are not for applications.
function asGuard<TAttributes>(guard: unknown): Guard<TAttributes> {
  return guard as Guard<TAttributes>
}
