// tRPC as it comes: the standalone adapter, no transformer, nobody signed in.
import { initTRPC } from '@trpc/server'
import { createHTTPHandler } from '@trpc/server/adapters/standalone'
import { GREETING, serve } from './announce.mjs'

const t = initTRPC.create()
const router = t.router({ open: t.procedure.query(() => GREETING) })

serve(createHTTPHandler({ router }), { stock: { target: '/open' } })
