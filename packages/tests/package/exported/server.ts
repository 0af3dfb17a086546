// Compiled with declarations, never run: whatever an application exports can be named, wherever its packages lie.
import { initTRPC } from '@trpc/server'
import { type AuthContext, AuthError, createAuth, createServer, formatAuthError, transformer, type User } from '@trpc-login/server'
import { loadConfig } from '@trpc-login/server/config'
import { google } from '@trpc-login/server/providers'
import { createTestAuth } from '@trpc-login/server/testing'
import * as v from 'valibot'
import { z } from 'zod'
import * as mini from 'zod/mini'

/** Each assignable to the other, and not `any`, which would be assignable to everything. */
type Equal<A, B> = 0 extends 1 & A ? false : [A, B] extends [B, A] ? true : false
type Holds<T extends true> = T

export const providers = [google({ clientId: 'x', clientSecret: 'y' })]
export const config = loadConfig({})
export const auth = createAuth({
  roles: ['editor'],
  providers,
  attributes: z.object({ plan: z.enum(['free', 'pro']).default('free'), seats: z.number().optional() }),
})
export const ofMini = createAuth({ attributes: mini.object({ plan: mini._default(mini.enum(['free', 'pro']), 'free') }) })
export const ofValibot = createAuth({ attributes: v.object({ plan: v.optional(v.picklist(['free', 'pro']), 'free') }) })

export const t = initTRPC.context<AuthContext & { db: string }>().create({ transformer, errorFormatter: formatAuthError })
export const loggedIn = t.procedure.concat(auth.requireUser)
export const asEditor = t.procedure.concat(auth.requireRole('editor'))
export const appRouter = t.router({
  auth: auth.router,
  mine: loggedIn.query(({ ctx }) => ctx.user),
  miniPlan: t.procedure.concat(ofMini.requireUser).query(({ ctx }) => ctx.user.attributes?.plan),
  valibotPlan: t.procedure.concat(ofValibot.requireUser).query(({ ctx }) => ctx.user.attributes?.plan),
  refuses: t.procedure.input(z.object({ a: z.string() })).mutation(() => {
    throw new AuthError('conflict')
  }),
})
export type AppRouter = typeof appRouter
export const createContext = (request: Parameters<typeof auth.createContext>[0]) => ({ ...auth.createContext(request), db: 'here' })
export const server = createServer({ auth, router: appRouter, createContext: () => ({ db: 'here' }) })
export const testAuth = createTestAuth({ roles: ['editor'] })
export const context = testAuth.contextFor('ada')
export const { users, sessions, audit, storage, oauth, log } = auth
export const listed = users.list()
export const found = users.findByUsername('ada')
export const entries = audit.list()
export const days = audit.perDay('authn_login_fail', 7)
export const entry = audit.entry('user_updated', { actorId: null, address: null }, 'x')
export const devices = sessions.list('x')
export const identities = oauth.list('x')
export const completed = oauth.complete
export const caller = async () => appRouter.createCaller({ ...(await context), db: 'here' }).mine()
export const made = (user: User) => users.create({ username: user.username })

type Plan = 'free' | 'pro' | undefined
type Attributes = { plan: 'free' | 'pro'; seats?: number | undefined }
export type Checks = [
  Holds<Equal<Awaited<ReturnType<ReturnType<typeof appRouter.createCaller>['mine']>>['attributes'], Attributes | undefined>>,
  Holds<Equal<Awaited<ReturnType<ReturnType<typeof appRouter.createCaller>['miniPlan']>>, Plan>>,
  Holds<Equal<Awaited<ReturnType<ReturnType<typeof appRouter.createCaller>['valibotPlan']>>, Plan>>,
]
