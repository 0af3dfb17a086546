// Compiled, never run: what the types promise to applications, and what they refuse.
import { initTRPC } from '@trpc/server'
import { createClient } from '@trpc-login/client'
import type { Session as ServerSession, User } from '@trpc-login/server'
import { type AuthContext, createAuth, createServer, formatAuthError, transformer } from '@trpc-login/server'
import { createTestAuth } from '@trpc-login/server/testing'

/** Each assignable to the other, and not `any`, which would be assignable to everything. */
type Equal<A, B> = 0 extends 1 & A ? false : [A, B] extends [B, A] ? true : false
type Holds<T extends true> = T

const auth = createAuth({ roles: ['editor'] })
const t = initTRPC.context<AuthContext & { db: string }>().create({ transformer, errorFormatter: formatAuthError })

const appRouter = t.router({
  auth: auth.router,
  mine: t.procedure.concat(auth.requireUser).query(({ ctx }) => {
    void (0 as unknown as Holds<Equal<typeof ctx.user, User>>)
    void (0 as unknown as Holds<Equal<typeof ctx.session, ServerSession>>)
    void (0 as unknown as Holds<Equal<typeof ctx.db, string>>)
    return ctx.user.username
  }),
  fresh: t.procedure.concat(auth.requireFresh(60_000)).query(({ ctx }) => ctx.session.fresh),
  edit: t.procedure.concat(auth.requireRole('editor')).mutation(({ ctx }) => ctx.user.roles),
  admin: t.procedure.concat(auth.requireRole('admin')).query(({ ctx }) => ctx.user.id),
  open: t.procedure.query(({ ctx }) => {
    // @ts-expect-error a public procedure has no user
    void ctx.user
    return new Date(0)
  }),
})

// @ts-expect-error a misspelled role
auth.requireRole('edtior')
// @ts-expect-error without roles there is only admin
createAuth().requireRole('editor')
// @ts-expect-error an unknown option
createAuth({ sesion: {} })

const bare = initTRPC.context<{ db: string }>().create()
// @ts-expect-error the application's context must hold ours
bare.procedure.concat(auth.requireUser)

void createServer({ auth, router: appRouter, createContext: () => ({ db: 'here' }) })
// @ts-expect-error what the application's context holds must have its type
void createServer({ auth, router: appRouter, createContext: () => ({ db: 1 }) })

const { api, session } = createClient<typeof appRouter>({ url: 'https://example.com' })
export async function use(): Promise<void> {
  const open = await api.open.query()
  void (0 as unknown as Holds<Equal<typeof open, Date>>)
  const signedIn = await api.auth.login.mutate({ username: 'ada', password: 'x', remember: true })
  void (0 as unknown as Holds<Equal<typeof signedIn.user.createdAt, Date>>)
  void (0 as unknown as Holds<Equal<typeof signedIn.session.expiresAt, Date>>)
  const me = await api.auth.me.query()
  void (0 as unknown as Holds<Equal<typeof me, typeof signedIn | null>>)
  void (0 as unknown as Holds<Equal<typeof session.current, typeof signedIn | null>>)
  // @ts-expect-error a misspelled field
  await api.auth.login.mutate({ usrname: 'ada', password: 'x' })
  // @ts-expect-error no such procedure
  await api.auth.signOut.mutate()

  await using test = createTestAuth({ roles: ['editor'] })
  test.requireRole('editor')
  const caller = appRouter.createCaller({ ...(await test.contextFor('ada')), db: 'here' })
  const name = await caller.mine()
  void (0 as unknown as Holds<Equal<typeof name, string>>)
}
