import { initTRPC } from '@trpc/server'
import { type AuthContext, createAuth, createServer, formatAuthError, runUntilStopped, transformer } from '@trpc-login/server'
import { loadConfig } from '@trpc-login/server/config'
import { z } from 'zod'
import { addDemoUsers, printGuide } from './demo.ts'

const config = loadConfig({ TRPC_LOGIN_REGISTRATION: 'open', ...process.env })
const auth = createAuth({ storage: config.openStorage(), ...config.auth })

const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
const anyObject = z.record(z.string(), z.json())

const appRouter = t.router({
  auth: auth.router,
  // open to all
  notauthFunc: t.procedure.input(anyObject).mutation(({ input }) => ({ ok: true, msg: `notauth_func(${JSON.stringify(input)})` })),
  // needs a login, and answers 401 without one
  authFunc: t.procedure
    .concat(auth.requireUser)
    .input(anyObject)
    .mutation(({ ctx, input }) => ({ ok: true, msg: `auth_func(${JSON.stringify(input)}),user_id=${ctx.user.username}` })),
})
export type AppRouter = typeof appRouter

const demoUsers = await addDemoUsers(auth, config.server.host)
await runUntilStopped(createServer({ auth, router: appRouter, ...config.server }), (server) => printGuide(server, demoUsers))
