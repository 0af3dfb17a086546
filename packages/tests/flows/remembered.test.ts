import { reasonOf } from '@trpc-login/client/node'
import { expect, test } from 'vitest'
import { cookieOf, PASSWORD, startServer, type TestServer } from '../support/server.ts'

type Client = Awaited<ReturnType<TestServer['signIn']>>

const NEW_PASSWORD = 'entirely new and long'
const idOf = ({ session }: Client) => session.current?.user.id ?? ''

/** Each way of ending a session, done from another session of the same user or by the application. */
const ENDINGS: Record<string, (server: TestServer, remembered: Client) => Promise<unknown>> = {
  'logging out': (_server, remembered) => remembered.api.auth.logout.mutate(),
  'revoking it': async (server, remembered) => {
    const { api } = await server.signIn()
    await api.auth.sessions.revoke.mutate({ id: remembered.session.current?.session.id ?? '' })
  },
  'revoking all others': async (server) => (await server.signIn()).api.auth.sessions.revokeOthers.mutate(),
  'a password change elsewhere': async (server) => {
    const { api } = await server.signIn()
    await api.auth.changePassword.mutate({ currentPassword: PASSWORD, newPassword: NEW_PASSWORD })
  },
  'a password reset': async (server, remembered) => {
    const { url } = await server.auth.users.startPasswordReset(idOf(remembered))
    await server.client().api.auth.resetPassword.mutate({ token: url.split('token=')[1] ?? '', newPassword: NEW_PASSWORD })
  },
  disabling: (server, remembered) => server.auth.users.disable(idOf(remembered)),
  deletion: (server, remembered) => server.auth.users.delete(idOf(remembered)),
}

test.each(Object.entries(ENDINGS))('RM-3: a remembered session is over after %s', async (name, end) => {
  await using server = await startServer()
  const remembered = await server.signIn('ada', { remember: true })
  const other = await server.post('auth.login', { username: 'ada', password: PASSWORD, remember: true })
  expect(remembered.session.current?.session.remembered).toBe(true)
  const id = idOf(remembered)
  await end(server, remembered)
  // Enabling brings none back.
  if (name === 'disabling') await server.auth.users.enable(id)

  expect(await remembered.api.guarded.query().then(() => 'in', reasonOf)).toMatch(/^(session_ended|not_signed_in)$/)
  const isOne = name === 'logging out' || name === 'revoking it'
  expect((await server.post('authFunc', {}, { cookie: cookieOf(other.headers) })).status).toBe(isOne ? 200 : 401)
})
