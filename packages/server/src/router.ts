import { z } from 'zod'
import type { AccountEvents } from './account-events.ts'
import type { Act, Audit } from './audit.ts'
import type { AuthContext } from './context.ts'
import { AuthError } from './errors.ts'
import { emailSchema, identifierSchema, nameSchema, usernameSchema } from './identifiers.ts'
import type { Identities } from './identities.ts'
import type { OAuth } from './oauth.ts'
import { passwordSchema } from './password-schema.ts'
import { open as base, type Guarded, type Guards, t } from './procedures.ts'
import { type CompleteSignIn, createOAuthRouter } from './routers/oauth.ts'
import { actOf, createAuditRouter, createUsersRouter } from './routers/users.ts'
import type { Sessions } from './sessions.ts'
import type { Throttle } from './throttle.ts'
import type { UserAdmin } from './user-admin.ts'
import { toUser, type Users } from './users.ts'

const OK = { ok: true } as const
const ALONE = { alone: true } as const
const EXPORT_PAGE = 200

/** The mountable router: thin calls into the domain, by convention under `auth`. */
export function createRouter(deps: {
  users: Users & UserAdmin
  audit: Audit
  sessions: Sessions
  events: AccountEvents
  guards: Guards
  throttle: Pick<Throttle, 'call'>
  registration: 'open' | 'closed'
  oauth: OAuth
  identities: Identities
  completeSignIn: CompleteSignIn
}) {
  const { users, audit, sessions, events, guards, throttle, registration, oauth, identities, completeSignIn } = deps
  const open = base.meta({ access: 'public' })
  const user = guards.requireUser.meta({ access: 'user' })
  const fresh = guards.requireFresh().meta({ access: 'fresh' })

  /** The act of who gives the password, or where there is none a session that a provider has made fresh (ASVS 6.2.3). */
  async function requireProof(ctx: Guarded & AuthContext, field: string, password: string | undefined): Promise<Act> {
    const { user, session } = ctx.records
    if (password !== undefined) {
      await users.requirePassword(user, password, ctx.auth.address)
      return actOf(ctx)
    }
    if (user.passwordHash === null) {
      if (sessions.isFresh(session)) return actOf(ctx, { maxAgeMs: sessions.freshMs })
      throw new AuthError('reauthentication_required', { message: 'Sign in with your provider again first' })
    }
    const message = 'Enter your password'
    throw new AuthError('invalid_input', { message: `${field}: ${message}`, issues: [{ path: [field], message }] })
  }

  return t.router({
    login: open
      .meta(ALONE)
      .input(z.strictObject({ username: identifierSchema, password: passwordSchema, remember: z.boolean().optional() }))
      .mutation(async ({ ctx, input }) => {
        ctx.auth.requireCookie()
        const found = await users.authenticate(input.username, input.password, ctx.auth.address)
        return ctx.auth.login(found, { remember: input.remember ?? false })
      }),
    logout: open.meta(ALONE).mutation(async ({ ctx }) => {
      await ctx.auth.logout()
      return OK
    }),
    me: open.query(({ ctx }) => ctx.auth.signedIn()),
    register: open
      .meta(ALONE)
      .input(
        z.strictObject({ username: usernameSchema, password: passwordSchema, name: nameSchema.optional(), email: emailSchema.optional() }),
      )
      .mutation(async ({ ctx, input }) => {
        if (registration === 'closed') throw new AuthError('registration_closed')
        ctx.auth.requireCookie()
        return ctx.auth.begin((from) => users.signUp(input, from.ip, (user, created) => sessions.start(user, from, created)))
      }),
    resetPassword: open
      .meta(ALONE)
      .input(z.strictObject({ token: z.string().max(64), newPassword: passwordSchema }))
      .mutation(async ({ ctx, input }) => {
        await users.resetPassword(input.token, input.newPassword, ctx.auth.address)
        return OK
      }),
    reauthenticate: user
      .meta(ALONE)
      .input(z.strictObject({ password: passwordSchema }))
      .mutation(async ({ ctx, input }) => {
        ctx.auth.requireCookie()
        await users.requirePassword(ctx.records.user, input.password, ctx.auth.address)
        return ctx.auth.replace(ctx.records.user, await sessions.rotate(ctx.records.session, actOf(ctx)))
      }),
    changePassword: user
      .meta(ALONE)
      .input(z.strictObject({ currentPassword: passwordSchema.optional(), newPassword: passwordSchema }))
      .mutation(async ({ ctx, input: { currentPassword, newPassword } }) => {
        ctx.auth.requireCookie()
        const by = await requireProof(ctx, 'currentPassword', currentPassword)
        const renewed = await users.changePassword(ctx.records.user, ctx.records.session, newPassword, by)
        return ctx.auth.replace(ctx.records.user, renewed)
      }),
    events: guards.requireUserAtStart.meta({ access: 'user' }).subscription(({ ctx, signal }) => events(ctx.records, signal)),
    sessions: {
      list: user.query(({ ctx }) => sessions.list(ctx.user.id, ctx.session.id)),
      revoke: user.input(z.strictObject({ id: z.string().max(64) })).mutation(async ({ ctx, input }) => {
        await sessions.revoke(ctx.user.id, input.id, actOf(ctx))
        return OK
      }),
      revokeOthers: user.mutation(async ({ ctx }) => ({ revoked: await sessions.revokeAll(ctx.user.id, ctx.session.id, actOf(ctx)) })),
    },
    oauth: createOAuthRouter({ oauth, identities, completeSignIn, guards }),
    users: createUsersRouter({ users, sessions, guards }),
    audit: createAuditRouter({ audit, guards }),
    account: {
      update: user
        .input(z.strictObject({ name: nameSchema.nullable().optional() }))
        .mutation(async ({ ctx, input }) =>
          input.name === undefined ? ctx.user : toUser(await users.setName(ctx.user.id, input.name, actOf(ctx))),
        ),
      delete: fresh
        .meta(ALONE)
        .input(z.strictObject({ password: passwordSchema.optional() }))
        .mutation(async ({ ctx, input }) => {
          ctx.auth.requireCookie()
          await users.delete(ctx.user.id, await requireProof(ctx, 'password', input.password))
          await ctx.auth.logout()
          return OK
        }),
      export: fresh
        .meta(ALONE)
        .input(z.strictObject({ cursor: z.string().max(1000).optional() }).optional())
        .query(async ({ ctx, input }) => {
          await throttle.call(ctx.auth.address)
          // All of a long log in one answer would hold up everybody else while it is written.
          const log = await audit.list({ userId: ctx.user.id, limit: EXPORT_PAGE, cursor: input?.cursor })
          return {
            user: ctx.user,
            sessions: await sessions.list(ctx.user.id, ctx.session.id),
            identities: await identities.list(ctx.user.id),
            audit: log.items,
            auditCursor: log.nextCursor,
          }
        }),
    },
  })
}
