import { z } from 'zod'
import type { RequestAuth, SignedIn } from '../context.ts'
import { invalidInput } from '../errors.ts'
import type { Identities } from '../identities.ts'
import type { OAuth } from '../oauth.ts'
import { open as base, type Guards, t } from '../procedures.ts'
import type { Sessions } from '../sessions.ts'
import { toUser } from '../users.ts'
import { actOf } from './users.ts'

const OK = { ok: true } as const
const ALONE = { alone: true } as const
const MAX_PARAMETER = 8192
const MAX_PARAMETERS = 50

/** Ends a sign-in with a provider in a session, for the browser's route and for programs alike. */
export type CompleteSignIn = (
  auth: RequestAuth,
  provider: string,
  parameters: URLSearchParams,
) => Promise<{ signedIn: SignedIn; returnTo: string }>

export function createCompleteSignIn(deps: { oauth: OAuth; sessions: Sessions; appUrl: string }): CompleteSignIn {
  const { oauth, sessions, appUrl } = deps
  return async (auth, provider, parameters) => {
    auth.requireCookie()
    const asker = { binding: auth.findSignInBinding(), live: await auth.findLive(), address: auth.address }
    const outcome = await oauth.finish(provider, parameters, asker)
    const returnTo = `${appUrl}${outcome.returnTo}`
    if (outcome.kind === 'signed_in')
      return { signedIn: await auth.login(outcome.user, { remember: outcome.remember, provider }), returnTo }
    const { user, session } = outcome.live
    if (outcome.kind === 'reauthenticated') {
      const renewed = await sessions.rotate(session, { actorId: user.id, address: auth.address }, { provider })
      return { signedIn: auth.replace(user, renewed), returnTo }
    }
    // Linking proves an account elsewhere, not who sits here: the session stays as fresh as it was.
    return { signedIn: { user: toUser(user), session: sessions.toSession(session, session.id) }, returnTo }
  }
}

const providerSchema = z.string().max(32)

/** Before they are looked at one by one. No provider sends as many. */
function requireFew(input: unknown): void {
  const { parameters } = (input ?? {}) as { parameters?: unknown }
  if (typeof parameters !== 'object' || parameters === null || Object.keys(parameters).length <= MAX_PARAMETERS) return
  throw invalidInput([{ path: ['parameters'], message: `At most ${MAX_PARAMETERS} parameters` }])
}

/** Sign-in with others, over tRPC: what comes before and after the browser's way to the provider and back. */
export function createOAuthRouter(deps: { oauth: OAuth; identities: Identities; completeSignIn: CompleteSignIn; guards: Guards }) {
  const { oauth, identities, completeSignIn, guards } = deps
  const open = base.meta({ access: 'public' })

  return t.router({
    providers: open.query(() => oauth.providers()),
    begin: open
      .meta(ALONE)
      .input(
        z.strictObject({
          provider: providerSchema,
          returnTo: z.string().max(MAX_PARAMETER).optional(),
          link: z.boolean().optional(),
          remember: z.boolean().optional(),
          loopbackPort: z.int().min(1024, '1024 to 65535').max(65_535, '1024 to 65535').optional(),
        }),
      )
      .mutation(async ({ ctx, input }) => {
        ctx.auth.requireCookie()
        const live = await ctx.auth.findLive()
        return oauth.begin(input, { binding: ctx.auth.keepSignInBinding(), live, address: ctx.auth.address })
      }),
    finish: open
      .meta(ALONE)
      .use(async ({ getRawInput, next }) => {
        requireFew(await getRawInput())
        return next()
      })
      .input(z.strictObject({ provider: providerSchema, parameters: z.record(z.string().max(64), z.string().max(MAX_PARAMETER)) }))
      .mutation(async ({ ctx, input }) => {
        const { signedIn } = await completeSignIn(ctx.auth, input.provider, new URLSearchParams(input.parameters))
        return signedIn
      }),
    identities: guards.requireUser.meta({ access: 'user' }).query(({ ctx }) => identities.list(ctx.user.id)),
    unlink: guards
      .requireFresh()
      .meta({ access: 'fresh' })
      .input(z.strictObject({ id: z.string().max(64) }))
      .mutation(async ({ ctx, input }) => {
        await identities.unlink(ctx.user.id, input.id, actOf(ctx))
        return OK
      }),
  })
}
