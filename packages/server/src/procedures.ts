import { initTRPC, type TRPCProcedureBuilder, type TRPCUnsetMarker } from '@trpc/server'
import { isObservable, observableToAsyncIterable } from '@trpc/server/observable'
import type { AuthContext, AuthMeta } from './context.ts'
import { AuthError, formatAuthError } from './errors.ts'
import type { LiveSessions, Refusal } from './live.ts'
import type { Refusals } from './refusals.ts'
import type { Session, Sessions } from './sessions.ts'
import type { Attributes, SessionRecord, UserRecord } from './storage/storage.ts'
import { toUser, type User } from './users.ts'

const JUST_MS = 1

/** Our own tRPC instance; an application's transformer and formatter take over where our router is mounted. */
export const t = initTRPC.context<AuthContext>().meta<AuthMeta>().create({ errorFormatter: formatAuthError })

/**
 * A guard as an application concatenates it: `t.procedure.concat(auth.requireUser)`. Its error shape is `never` so that the
 * application's own stays what it is.
 */
export type Guard<TAttributes = Attributes> = TRPCProcedureBuilder<
  AuthContext,
  object,
  { user: User<TAttributes>; session: Session },
  TRPCUnsetMarker,
  TRPCUnsetMarker,
  TRPCUnsetMarker,
  TRPCUnsetMarker,
  false,
  never
>

/** What our public procedures begin with. */
export const open = t.procedure.use(({ ctx, meta, path, next }) => {
  if (meta?.alone === true) ctx.auth.requireHttp(path)
  ctx.auth.forbidCaching()
  return next()
})

/** What a guard asks of who calls. */
export interface Demand {
  readonly role: string | null
  /** How long ago a secret may have been proved. */
  readonly maxAgeMs: number | null
}

/** What our own procedures know beside what applications see. */
export interface Guarded {
  user: User
  session: Session
  records: { user: UserRecord; session: SessionRecord }
  demand: Demand
  askedAt: number
}

export function createGuards(deps: { sessions: Sessions; live: LiveSessions; refusals: Refusals }) {
  const { sessions, live, refusals } = deps

  /**
   * Checks once the input has come whole, so that no session can end between the check and the act by a body that is held back, and,
   * but for how long ago a secret was proved, for as long as a stream goes on.
   */
  const guard = (demand: Demand, { watches = true } = {}) =>
    t.procedure.use(async ({ ctx, meta, path, next, type, signal, getRawInput }) => {
      if (meta?.alone === true) ctx.auth.requireHttp(path)
      ctx.auth.forbidCaching()
      const { user, session } = justAsked(ctx) ?? (await ctx.auth.requireLive(getRawInput))
      const records = { user, session }
      const refusal = lacksRole(demand, user) ?? (isStale(demand, session) ? new AuthError('reauthentication_required') : null)
      if (refusal !== null) {
        refusals.note({ by: { actorId: user.id, address: ctx.auth.address }, path, error: refusal })
        throw refusal
      }
      const askedAt = performance.now()
      const guarded: Guarded = { user: toUser(user), session: sessions.toSession(session, session.id), records, demand, askedAt }
      const result = await next({ ctx: guarded })
      if (!watches || !result.ok || (type !== 'subscription' && !isAsyncIterable(result.data))) return result
      const source = isObservable(result.data) ? observableToAsyncIterable(result.data, signal ?? NEVER) : result.data
      const refuse: Refusal = (now) => lacksRole(demand, now.user)
      return { ...result, data: live.whileLive(source as AsyncIterable<unknown>, records, { refuse, signal }) }
    })

  function isStale({ maxAgeMs }: Demand, session: SessionRecord): boolean {
    return maxAgeMs !== null && !sessions.isFresh(session, maxAgeMs)
  }

  const anyone: Demand = { role: null, maxAgeMs: null }
  return {
    requireUser: guard(anyone),
    requireFresh: (maxAgeMs = sessions.freshMs) => guard({ role: null, maxAgeMs }),
    requireRole: (role: string) => guard({ role, maxAgeMs: null }),
    requireFreshRole: (role: string) => guard({ role, maxAgeMs: sessions.freshMs }),
    /** For a stream that tells of its session's end itself. */
    requireUserAtStart: guard(anyone, { watches: false }),
  }
}

/** The answer of a guard that stands right before this one, with nothing in between that could have waited. */
function justAsked(ctx: AuthContext & Partial<Guarded>): Guarded['records'] | null {
  const { records, askedAt = 0 } = ctx
  return records !== undefined && performance.now() - askedAt < JUST_MS ? records : null
}

function lacksRole({ role }: Demand, user: UserRecord): AuthError | null {
  return role === null || user.roles.includes(role) ? null : new AuthError('forbidden')
}

/** What a query may answer with too, where its caller takes a stream. */
function isAsyncIterable(data: unknown): boolean {
  return typeof data === 'object' && data !== null && Symbol.asyncIterator in data
}

const NEVER = new AbortController().signal

export type Guards = ReturnType<typeof createGuards>
