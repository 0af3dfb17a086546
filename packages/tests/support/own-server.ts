import { createAuth, createServer, postgresStorage, runUntilStopped } from '@trpc-login/server'

// A server as an application writes one, on the database that is named.
const auth = createAuth({ storage: postgresStorage({ url: process.argv[2] ?? '' }) })
await runUntilStopped(createServer({ auth, router: auth.router, port: 0 }))
