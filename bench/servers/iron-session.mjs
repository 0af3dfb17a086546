// tRPC with iron-session: the session sealed in the cookie, looked up nowhere.
import { initTRPC, TRPCError } from '@trpc/server'
import { createHTTPHandler } from '@trpc/server/adapters/standalone'
import { getIronSession, sealData } from 'iron-session'
import { serve, USER } from './announce.mjs'

const options = { cookieName: 'session', password: 'a password of at least thirty-two characters' }
const t = initTRPC.context().create()
const mine = t.procedure.query(({ ctx }) => {
  if (ctx.session.user === undefined) throw new TRPCError({ code: 'UNAUTHORIZED' })
  return `hello, ${ctx.session.user.username}`
})
const createContext = async ({ req, res }) => ({ session: await getIronSession(req, res, options) })
const cookie = `session=${await sealData({ user: USER }, options)}`

serve(createHTTPHandler({ router: t.router({ mine }), createContext }), { 'iron-session': { target: '/mine', cookie } })
