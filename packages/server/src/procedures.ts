import { initTRPC, type TRPCProcedureBuilder, type TRPCUnsetMarker } from '@trpc/server'
import type { AuthContext, AuthMeta } from './context.ts'
import { AuthError, formatAuthError } from './errors.ts'
import type { Session, Sessions } from './sessions.ts'
import type { SessionRecord, UserRecord } from './storage/storage.ts'
import { toUser, type User } from './users.ts'

/** Our own tRPC instance; an application's transformer and formatter take over where our router is mounted. */
export const t = initTRPC.context<AuthContext>().meta<AuthMeta>().create({ errorFormatter: formatAuthError })

/**
 * A guard as an application concatenates it: `t.procedure.concat(auth.requireUser)`. Its error shape is `never` so that the
 * application's own stays what it is.
 */
export type Guard = TRPCProcedureBuilder<
  AuthContext,
  object,
  { user: User; session: Session },
  TRPCUnsetMarker,
  TRPCUnsetMarker,
  TRPCUnsetMarker,
  TRPCUnsetMarker,
  false,
  never
>

/** What our own procedures know beside what applications see. */
export interface Guarded {
  user: User
  session: Session
  records: { user: UserRecord; session: SessionRecord }
}

export function createGuards(sessions: Sessions) {
  const requireUser = t.procedure.use(async ({ ctx, next }) => {
    const { user, session } = await ctx.auth.requireLive()
    const guarded: Guarded = { user: toUser(user), session: sessions.toSession(session, session.id), records: { user, session } }
    return next({ ctx: guarded })
  })

  const requireFresh = (maxAgeMs?: number) =>
    requireUser.use(({ ctx, next }) => {
      if (!sessions.isFresh(ctx.records.session, maxAgeMs)) throw new AuthError('reauthentication_required')
      return next()
    })

  const requireRole = (role: string) =>
    requireUser.use(({ ctx, next }) => {
      if (!ctx.user.roles.includes(role)) throw new AuthError('forbidden')
      return next()
    })

  return { requireUser, requireFresh, requireRole }
}

export type Guards = ReturnType<typeof createGuards>
