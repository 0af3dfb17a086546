import { readFileSync } from 'node:fs'
import { createClient } from '@trpc-login/client/node'
import type { AppRouter } from './server.ts'

const url = process.env['URL'] ?? 'https://127.0.0.1:8443'
const ca = readFileSync(process.env['CA_FILE'] ?? '.trpc-login/dev-ca.pem', 'utf8')
const { api, session, close } = createClient<AppRouter>({ url, ca })

session.subscribe(({ status }) => console.log('session:', status))

console.log(await api.notauthFunc.mutate({ a: 1 }))
await api.authFunc.mutate({ a: 1 }).catch((error: Error) => console.log('refused:', error.message))

await api.auth.login.mutate({ username: 'user01', password: 'demo-passphrase-01' })
console.log('hello', session.current?.user.username)
console.log(await api.authFunc.mutate({ a: 1 }))

await api.auth.logout.mutate()
await close()
