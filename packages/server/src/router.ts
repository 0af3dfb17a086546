import { z } from 'zod'
import type { Audit } from './audit.ts'
import { AuthError } from './errors.ts'
import { emailSchema, nameSchema, usernameSchema } from './identifiers.ts'
import type { LiveSessions } from './live.ts'
import { passwordSchema } from './password-rules.ts'
import { type Guards, t } from './procedures.ts'
import { actOf, createAuditRouter, createUsersRouter } from './routers/users.ts'
import type { Sessions } from './sessions.ts'
import type { UserAdmin } from './user-admin.ts'
import { toUser, type Users } from './users.ts'

const OK = { ok: true } as const
const ALONE = { alone: true } as const

/** What a caller types to say who they are; its form tells nothing about which accounts exist. */
const identifierSchema = z
  .string()
  .min(1, 'Must not be empty')
  .max(256, 'At most 256 characters')
  .refine((text) => !/\p{C}/u.test(text), 'Must not contain control characters')

/** The mountable router: thin calls into the domain, by convention under `auth`. */
export function createRouter(deps: {
  users: Users & UserAdmin
  audit: Audit
  sessions: Sessions
  live: LiveSessions
  guards: Guards
  registration: 'open' | 'closed'
}) {
  const { users, audit, sessions, live, guards, registration } = deps
  const open = t.procedure.meta({ access: 'public' })
  const user = guards.requireUser.meta({ access: 'user' })
  const fresh = guards.requireFresh().meta({ access: 'fresh' })

  return t.router({
    login: open
      .meta(ALONE)
      .input(z.strictObject({ username: identifierSchema, password: passwordSchema, remember: z.boolean().optional() }))
      .mutation(async ({ ctx, input }) => {
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
        return ctx.auth.login(await users.register(input, ctx.auth.address))
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
        await users.requirePassword(ctx.records.user, input.password, ctx.auth.address)
        return ctx.auth.replace(ctx.records.user, await sessions.rotate(ctx.records.session))
      }),
    changePassword: user
      .meta(ALONE)
      .input(z.strictObject({ currentPassword: passwordSchema, newPassword: passwordSchema }))
      .mutation(async ({ ctx, input }) => {
        const renewed = await users.changePassword(ctx.records.user, ctx.records.session, { ...input, address: ctx.auth.address })
        return ctx.auth.replace(ctx.records.user, renewed)
      }),
    events: guards.requireUserAtStart.meta({ access: 'user' }).subscription(({ ctx, signal }) => live.events(ctx.records, signal)),
    sessions: {
      list: user.query(({ ctx }) => sessions.list(ctx.user.id, ctx.session.id)),
      revoke: user.input(z.strictObject({ id: z.string().max(64) })).mutation(async ({ ctx, input }) => {
        await sessions.revoke(ctx.user.id, input.id, actOf(ctx))
        return OK
      }),
      revokeOthers: user.mutation(async ({ ctx }) => ({ revoked: await sessions.revokeAll(ctx.user.id, ctx.session.id, actOf(ctx)) })),
    },
    users: createUsersRouter({ users, sessions, guards }),
    audit: createAuditRouter({ audit, guards }),
    account: {
      update: user
        .input(z.strictObject({ name: nameSchema.nullable().optional() }))
        .mutation(async ({ ctx, input }) => (input.name === undefined ? ctx.user : toUser(await users.setName(ctx.user.id, input.name)))),
      delete: fresh
        .meta(ALONE)
        .input(z.strictObject({ password: passwordSchema }))
        .mutation(async ({ ctx, input }) => {
          await users.requirePassword(ctx.records.user, input.password, ctx.auth.address)
          await users.delete(ctx.user.id, actOf(ctx))
          await ctx.auth.logout()
          return OK
        }),
      export: fresh.query(async ({ ctx }) => ({
        user: ctx.user,
        sessions: await sessions.list(ctx.user.id, ctx.session.id),
        audit: await audit.everythingOf(ctx.user.id),
      })),
    },
  })
}
