import { initTRPC } from '@trpc/server'
import { type AuthContext, formatAuthError, transformer } from '@trpc-login/server'
import { createTestAuth } from '@trpc-login/server/testing'
import { expect, onTestFinished, test, vi } from 'vitest'
import { HOUR, MINUTE, PASSWORD } from '../support/server.ts'

function createApp() {
  const auth = createTestAuth({ roles: ['editor'] })
  const t = initTRPC.context<AuthContext & { greeting: string }>().create({ transformer, errorFormatter: formatAuthError })
  const router = t.router({
    auth: auth.router,
    greet: t.procedure.concat(auth.requireUser).query(({ ctx }) => `${ctx.greeting}, ${ctx.user.username}`),
    publish: t.procedure.concat(auth.requireRole('editor')).mutation(() => 'published'),
    close: t.procedure.concat(auth.requireFresh()).mutation(() => 'closed'),
  })
  const as = async (user: Parameters<typeof auth.contextFor>[0]) =>
    router.createCaller({ ...(await auth.contextFor(user)), greeting: 'hello' })
  return { auth, as, [Symbol.asyncDispose]: () => auth.close() }
}

test('testing: a caller is whoever the test says, with the roles it says', async () => {
  await using app = createApp()
  expect(await (await app.as('ada')).greet()).toBe('hello, ada')
  expect(await (await app.as({ username: 'eve', roles: ['editor'] })).publish()).toBe('published')
  await expect((await app.as('ada')).publish()).rejects.toMatchObject({ reason: 'forbidden' })
  await expect((await app.as(null)).greet()).rejects.toMatchObject({ reason: 'not_signed_in' })
})

test('testing: freshness and the end of a session follow the clock that the test moves', async () => {
  await using app = createApp()
  const ada = await app.as('ada')
  expect(await ada.close()).toBe('closed')
  app.auth.clock.advance(16 * MINUTE)
  await expect(ada.close()).rejects.toMatchObject({ reason: 'reauthentication_required' })
  expect(await ada.greet()).toBe('hello, ada')
  app.auth.clock.advance(2 * HOUR)
  await expect(ada.greet()).rejects.toMatchObject({ reason: 'session_ended' })
  expect(await (await app.as('ada')).close()).toBe('closed')
})

test('testing: a caller signs out and in again as a browser would', async () => {
  await using app = createApp()
  await app.auth.users.create({ username: 'ada', password: PASSWORD })
  const ada = await app.as('ada')
  await ada.auth.changePassword({ currentPassword: PASSWORD, newPassword: `${PASSWORD} staple` })
  expect(await ada.greet()).toBe('hello, ada')
  await ada.auth.logout()
  await expect(ada.greet()).rejects.toMatchObject({ reason: 'not_signed_in' })
  await ada.auth.login({ username: 'ada', password: `${PASSWORD} staple` })
  expect(await ada.greet()).toBe('hello, ada')
})

test('testing: two of them share nothing', async () => {
  await using one = createApp()
  await using other = createApp()
  await one.as('ada')
  expect(await other.auth.users.findByUsername('ada')).toBe(null)
})

function NotForServers(): never {
  throw new Error('this environment is a browser')
}

test('testing: it needs neither Request nor Headers, of which a test environment may have brought its own', async () => {
  for (const name of ['Request', 'Response', 'Headers']) vi.stubGlobal(name, NotForServers)
  onTestFinished(() => void vi.unstubAllGlobals())
  await using app = createApp()
  const ada = await app.as('ada')
  expect(await ada.greet()).toBe('hello, ada')
  await ada.auth.logout()
  await expect(ada.greet()).rejects.toMatchObject({ reason: 'not_signed_in' })
})
