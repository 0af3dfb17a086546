// An application whose tRPC is not the library's: bundled with it, or loaded by `require`. It is served both ways that there are.
import { createTRPCClient, httpLink } from '@trpc/client'
import { initTRPC, TRPCError, tracked } from '@trpc/server'
import { createHTTPServer } from '@trpc/server/adapters/standalone'
import { reasonOf, retryAfterOf } from '@trpc-login/client/node'
import {
  type AuthContext,
  AuthError,
  createAuth,
  createServer,
  formatAuthError,
  silentLog,
  sqliteStorage,
  transformer,
} from '@trpc-login/server'

const auth = createAuth({
  registration: 'open',
  storage: sqliteStorage({ path: ':memory:' }),
  limits: { failuresPerAddress: 2, signUpsPerAddress: 100 },
  log: silentLog,
})
const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })

const appRouter = t.router({
  auth: auth.router,
  guarded: t.procedure.concat(auth.requireUser).query(({ ctx }) => ctx.user.username),
  asAdmin: t.procedure.concat(auth.requireRole('admin')).query(({ ctx }) => ctx.user.username),
  ours: t.procedure.query(() => {
    throw new AuthError('conflict', { message: 'Somebody was faster' })
  }),
  theirs: t.procedure.query(() => {
    throw new TRPCError({ code: 'CONFLICT', message: 'Somebody was faster' })
  }),
  waits: t.procedure.query(() => {
    throw new AuthError('rate_limited', { retryAfter: 7 })
  }),
  refuses: t.procedure
    .input((value) => {
      throw new AuthError('invalid_input', { message: 'No good', issues: [{ path: ['a'], message: typeof value }] })
    })
    .query(() => null),
  shaped: t.procedure
    .errors(({ shape }) => ({ ...shape, message: 'in words of its own', data: { ...shape.data, reason: 'forbidden', kind: 'own' } }))
    .query(() => {
      throw new AuthError('forbidden')
    }),
  fails: t.procedure.query(() => {
    throw new Error('select * from secrets')
  }),
  numbers: t.procedure.subscription(async function* () {
    yield tracked('n1', 1)
    yield tracked('n2', 2)
  }),
})
export type AppRouter = typeof appRouter

async function main(): Promise<void> {
  const ours = await createServer({ auth, router: appRouter, port: 0, tls: { developmentDir: './tls' } })
  const theirs = createHTTPServer({ router: appRouter, createContext: (opts) => auth.createContext(opts), basePath: '/api/' })
  await new Promise<void>((resolve) => void theirs.listen(0, '127.0.0.1', resolve))
  const address = theirs.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : address}`
  const client = createTRPCClient<AppRouter>({ links: [httpLink({ url: `${url}/api`, transformer })] })
  const error = await client.waits.query().catch((thrown: unknown) => thrown)
  console.log(JSON.stringify({ ours: ours.url, ca: ours.caFile, theirs: url, seen: [reasonOf(error), retryAfterOf(error)] }))
}

void main()
