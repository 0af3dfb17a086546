// This library's server, as built, on SQLite or on the PostgreSQL named by DATABASE_URL.
// Its own copy of tRPC by path: an application has one, and so must this one.

import * as library from '../../packages/server/dist/index.js'
import { initTRPC } from '../../packages/server/node_modules/@trpc/server/dist/index.mjs'
import { announce, GREETING, PASSWORD } from './announce.mjs'

const { createAuth, createServer, formatAuthError, silentLog, sqliteStorage, transformer } = library
const { DATABASE_URL: url, CERT: certFile, KEY: keyFile, DIR: dir } = process.env
const storage = url === undefined ? sqliteStorage({ path: `${dir}/login.db` }) : library.postgresStorage({ url })
if (url !== undefined) await storage.migrate()
const MANY = { failuresPerAddress: 1e9, callsPerAddress: 1e9, signUpsPerAddress: 1e9 }
const auth = createAuth({ storage, limits: MANY, log: silentLog })
const t = initTRPC.context().create({ transformer, errorFormatter: formatAuthError })
const router = t.router({
  auth: auth.router,
  open: t.procedure.query(() => GREETING),
  mine: t.procedure.concat(auth.requireUser).query(({ ctx }) => `hello, ${ctx.user.username}`),
})

// One whose session is measured, and one for each caller that logs in.
const names = ['user01', ...Array.from({ length: 64 }, (_, n) => String(n).padStart(6, '0'))]
for (const username of names)
  if ((await auth.users.findByUsername(username)) === null) await auth.users.create({ username, password: PASSWORD })
const server = await createServer({ auth, router, port: 0, tls: { certFile, keyFile }, maxConnectionsPerAddress: 4000 })
const name = url === undefined ? 'sqlite' : 'postgres'
announce(server.port, {
  [`${name} public`]: { target: '/api/open' },
  [`${name} protected`]: { target: '/api/mine', login: '/api/auth.login' },
  [`${name} me`]: { target: '/api/auth.me', login: '/api/auth.login' },
})
