import { initTRPC, type TRPCProcedureBuilder, type TRPCUnsetMarker } from '@trpc/server'
import { isObservable, observableToAsyncIterable } from '@trpc/server/observable'
import type { AuthContext, AuthMeta } from './context.ts'
import { AuthError, formatAuthError } from './errors.ts'
import type { LiveSessions, Refusal } from './live.ts'
import type { Refusals } from './refusals.ts'
import type { Live, Session, Sessions } from './sessions.ts'
import type { Attributes, SessionRecord, UserRecord } from './storage/storage.ts'
import { toUser, type User } from './users.ts'

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

/** What our own procedures know beside what applications see. */
export interface Guarded {
  user: User
  session: Session
  records: { user: UserRecord; session: SessionRecord }
}

export function createGuards(deps: { sessions: Sessions; live: LiveSessions; refusals: Refusals }) {
  const { sessions, live, refusals } = deps

  /**
   * Checks once the input has come whole, so that no session can end between the check and the act by a body that is held back, and,
   * as far as `throughout` says, for as long as a stream goes on.
   */
  const guard = (refuse: Refusal, throughout: Refusal | null) =>
    t.procedure.use(async ({ ctx, meta, path, next, type, signal, getRawInput }) => {
      if (meta?.alone === true) ctx.auth.requireHttp(path)
      ctx.auth.forbidCaching()
      const { user, session } = await ctx.auth.requireLive(getRawInput)
      const records = { user, session }
      const refusal = refuse(records)
      if (refusal !== null) {
        refusals.note({ by: { actorId: user.id, address: ctx.auth.address }, path, error: refusal })
        throw refusal
      }
      const guarded: Guarded = { user: toUser(user), session: sessions.toSession(session, session.id), records }
      const result = await next({ ctx: guarded })
      if (throughout === null || !result.ok || (type !== 'subscription' && !isAsyncIterable(result.data))) return result
      const source = isObservable(result.data) ? observableToAsyncIterable(result.data, signal ?? NEVER) : result.data
      return { ...result, data: live.whileLive(source as AsyncIterable<unknown>, records, { refuse: throughout, signal }) }
    })
  const isStale = ({ session }: Live, maxAgeMs?: number) =>
    sessions.isFresh(session, maxAgeMs) ? null : new AuthError('reauthentication_required')

  return {
    requireUser: guard(anyone, anyone),
    requireFresh: (maxAgeMs?: number) => guard((live) => isStale(live, maxAgeMs), anyone),
    requireRole: (role: string) => guard(lacksRole(role), lacksRole(role)),
    requireFreshRole: (role: string) => guard((live) => lacksRole(role)(live) ?? isStale(live), lacksRole(role)),
    /** For a stream that tells of its session's end itself. */
    requireUserAtStart: guard(anyone, null),
  }
}

const anyone: Refusal = () => null

function lacksRole(role: string): Refusal {
  return ({ user }) => (user.roles.includes(role) ? null : new AuthError('forbidden'))
}

/** What a query may answer with too, where its caller takes a stream. */
function isAsyncIterable(data: unknown): boolean {
  return typeof data === 'object' && data !== null && Symbol.asyncIterator in data
}

const NEVER = new AbortController().signal

export type Guards = ReturnType<typeof createGuards>
