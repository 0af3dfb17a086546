// tRPC on Express with express-session and passport: the session in memory, as they come.
import { initTRPC, TRPCError } from '@trpc/server'
import { createExpressMiddleware } from '@trpc/server/adapters/express'
import express from 'express'
import session from 'express-session'
import passport from 'passport'
import { serve, USER } from './announce.mjs'

const t = initTRPC.context().create()
const mine = t.procedure.query(({ ctx }) => {
  if (ctx.user === undefined) throw new TRPCError({ code: 'UNAUTHORIZED' })
  return `hello, ${ctx.user.username}`
})
passport.serializeUser((user, done) => done(null, user.id))
passport.deserializeUser((id, done) => done(null, id === USER.id ? USER : false))

const app = express()
app.disable('x-powered-by')
app.use(session({ secret: 'a secret', resave: false, saveUninitialized: false, cookie: { secure: true } }))
app.use(passport.session())
app.post('/login', (req, res) => req.login(USER, () => res.json({ ok: true })))
app.use('/trpc', createExpressMiddleware({ router: t.router({ mine }), createContext: ({ req }) => ({ user: req.user }) }))

serve(app, { passport: { target: '/trpc/mine', login: '/login' } })
