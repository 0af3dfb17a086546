import { z } from 'zod'
import type { Act, Audit } from '../audit.ts'
import type { RequestAuth } from '../context.ts'
import { emailSchema, nameSchema, rolesSchema, usernameSchema } from '../identifiers.ts'
import { passwordSchema } from '../password-schema.ts'
import { type Demand, type Guarded, type Guards, t } from '../procedures.ts'
import type { Sessions } from '../sessions.ts'
import type { Attributes } from '../storage/storage.ts'
import type { UserAdmin } from '../user-admin.ts'
import { toUserRow, type Users } from '../users.ts'

const OK = { ok: true } as const

const idSchema = z.string().max(64)
const byId = z.strictObject({ id: idSchema })
const limitSchema = z.int().min(1, '1 to 100').max(100, '1 to 100').optional()
const cursorSchema = z.string().max(1000).optional()
const searchSchema = z
  .string()
  .max(256, 'At most 256 characters')
  .refine((text) => text.isWellFormed() && !/\p{Cc}/u.test(text), 'Must not contain control characters')
  .optional()
// Named by our own type: that of zod's JSON would stand in the router of every application.
const attributesSchema: z.ZodType<Attributes, Attributes> = z.record(z.string(), z.json())
const profile = {
  name: nameSchema.optional(),
  email: emailSchema.optional(),
  emailVerified: z.boolean().optional(),
  roles: rolesSchema.optional(),
  attributes: attributesSchema.optional(),
}

/** What administrators may do, at a glance: reading needs the role, changing needs a fresh session too. */
export function createUsersRouter(deps: { users: Users & UserAdmin; sessions: Sessions; guards: Guards }) {
  const { users, sessions, guards } = deps
  const admin = guards.requireRole('admin').meta({ access: 'admin' })
  const freshAdmin = guards.requireFreshRole('admin').meta({ access: 'fresh admin' })

  return t.router({
    list: admin
      .input(z.strictObject({ search: searchSchema, limit: limitSchema, cursor: cursorSchema }).optional())
      .query(({ input }) => users.list(input)),
    get: admin.input(byId).query(async ({ input }) => toUserRow(await users.get(input.id))),
    create: freshAdmin
      .meta({ alone: true })
      .input(z.strictObject({ username: usernameSchema, password: passwordSchema.optional(), ...profile }))
      .mutation(async ({ ctx, input }) => toUserRow(await users.create(input, actOf(ctx)))),
    update: freshAdmin
      .input(z.strictObject({ id: idSchema, ...profile, name: nameSchema.nullable().optional(), email: emailSchema.nullable().optional() }))
      .mutation(async ({ ctx, input: { id, ...change } }) => toUserRow(await users.update(id, change, actOf(ctx)))),
    disable: freshAdmin.input(byId).mutation(async ({ ctx, input }) => toUserRow(await users.disable(input.id, actOf(ctx)))),
    enable: freshAdmin.input(byId).mutation(async ({ ctx, input }) => toUserRow(await users.enable(input.id, actOf(ctx)))),
    delete: freshAdmin.input(byId).mutation(async ({ ctx, input }) => {
      await users.delete(input.id, actOf(ctx))
      return OK
    }),
    startPasswordReset: freshAdmin.input(byId).mutation(({ ctx, input }) => users.startPasswordReset(input.id, actOf(ctx))),
    sessions: admin.input(byId).query(async ({ ctx, input }) => {
      await users.get(input.id)
      return sessions.list(input.id, ctx.session.id)
    }),
    revokeSessions: admin.input(byId).mutation(async ({ ctx, input }) => {
      await users.get(input.id)
      return { revoked: await sessions.revokeAll(input.id, null, actOf(ctx)) }
    }),
  })
}

export function createAuditRouter(deps: { audit: Audit; guards: Guards }) {
  return t.router({
    list: deps.guards
      .requireRole('admin')
      .meta({ access: 'admin' })
      .input(
        z
          .strictObject({ userId: idSchema.optional(), type: z.string().max(64).optional(), limit: limitSchema, cursor: cursorSchema })
          .optional(),
      )
      .query(({ input }) => deps.audit.list(input)),
  })
}

/** Who calls, and what must still hold of them when their act is written. */
export function actOf(ctx: Guarded & { auth: RequestAuth }, more: Partial<Demand> = {}): Act {
  return { actorId: ctx.user.id, address: ctx.auth.address, session: { id: ctx.session.id, ...ctx.demand, ...more } }
}
