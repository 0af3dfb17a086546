// An application that was there before: its own context, meta, transformer and adapter. The lines marked "// auth" are all that was added.
import { initTRPC } from '@trpc/server'
import { type CreateHTTPContextOptions, createHTTPServer } from '@trpc/server/adapters/standalone'
import { type AuthContext, createAuth, formatAuthError, sqliteStorage } from '@trpc-login/server' // auth
import { wire } from './wire.ts'

const auth = createAuth({ registration: 'open', storage: sqliteStorage({ path: 'app.db' }), roles: ['editor'] }) // auth

interface AppContext extends AuthContext /* auth */ {
  notes: Map<string, string[]>
}
interface AppMeta {
  cost: number
}

const notes = new Map<string, string[]>()
const createContext = (opts: CreateHTTPContextOptions): AppContext => ({
  ...auth.createContext(opts), // auth
  notes,
})

const t = initTRPC.context<AppContext>().meta<AppMeta>().create({
  transformer: wire,
  errorFormatter: formatAuthError, // auth
})

const loggedIn = t.procedure.concat(auth.requireUser) // auth

const appRouter = t.router({
  auth: auth.router, // auth
  version: t.procedure.meta({ cost: 0 }).query(() => ({ version: 1, builtAt: new Date(0) })),
  note: {
    add: loggedIn
      .meta({ cost: 1 })
      .input((value: unknown) => String(value))
      .mutation(({ ctx, input }) => {
        const mine = [...(ctx.notes.get(ctx.user.id) ?? []), input]
        ctx.notes.set(ctx.user.id, mine)
        return { by: ctx.user.username, since: ctx.user.createdAt, count: mine.length }
      }),
    clear: t.procedure
      .meta({ cost: 9 })
      .concat(auth.requireRole('editor'))
      .mutation(({ ctx }) => ctx.notes.clear()),
  },
})
export type AppRouter = typeof appRouter

const server = createHTTPServer({ router: appRouter, createContext, basePath: '/rpc/' })
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  console.log(`http://127.0.0.1:${typeof address === 'object' ? address?.port : address}/rpc`)
})
