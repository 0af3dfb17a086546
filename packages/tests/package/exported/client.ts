import { createClient } from '@trpc-login/client'
import { createClient as createNodeClient, fileStore } from '@trpc-login/client/node'
import type { AppRouter } from './server.ts'

export const client = createClient<AppRouter>({ url: 'https://example.com' })
export const { api, session } = createNodeClient<AppRouter>({ url: 'https://example.com', store: fileStore('cookies.json') })
export const signIn = () => api.auth.login.mutate({ username: 'ada', password: 'x' })
export const create = (plan: string) => api.auth.users.create.mutate({ username: 'ada', attributes: { plan } })
export const current = session.current
