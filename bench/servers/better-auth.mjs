// tRPC with Better Auth on SQLite, with its cookie cache where CACHE says so.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { initTRPC, TRPCError } from '@trpc/server'
import { createHTTPHandler } from '@trpc/server/adapters/standalone'
import { betterAuth } from 'better-auth'
import { getMigrations } from 'better-auth/db/migration'
import { fromNodeHeaders, toNodeHandler } from 'better-auth/node'
import { PASSWORD, serve } from './announce.mjs'

const database = new DatabaseSync(join(process.env.DIR, 'better-auth.db'))
database.exec('pragma journal_mode = wal')
const options = {
  database,
  secret: 'a secret of at least thirty-two characters',
  baseURL: 'https://127.0.0.1',
  trustedOrigins: ['*'],
  emailAndPassword: { enabled: true },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  session: { cookieCache: { enabled: process.env.CACHE === 'on', maxAge: 3600 } },
}
await (await getMigrations(options)).runMigrations()
const auth = betterAuth(options)
const signUp = { name: 'user01', email: 'user01@example.com', password: PASSWORD }
const { headers } = await auth.api.signUpEmail({ body: signUp, returnHeaders: true })
const cookie = headers
  .getSetCookie()
  .map((line) => line.split(';', 1)[0])
  .join('; ')

const t = initTRPC.context().create()
const mine = t.procedure.query(({ ctx }) => {
  if (ctx.session === null) throw new TRPCError({ code: 'UNAUTHORIZED' })
  return `hello, ${ctx.session.user.name}`
})
const createContext = async ({ req }) => ({ session: await auth.api.getSession({ headers: fromNodeHeaders(req.headers) }) })
const trpc = createHTTPHandler({ router: t.router({ mine }), createContext, basePath: '/trpc/' })
const own = toNodeHandler(auth)

serve((req, res) => (req.url.startsWith('/trpc/') ? trpc(req, res) : own(req, res)), {
  [`better-auth cache ${process.env.CACHE}`]: { target: '/trpc/mine', cookie },
})
