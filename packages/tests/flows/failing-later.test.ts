import { AuthError, type Storage } from '@trpc-login/server'
import { expect, test } from 'vitest'
import { until } from '../support/remote.ts'
import { MINUTE, startServer } from '../support/server.ts'

const unavailable = async () => {
  throw new AuthError('unavailable', { cause: new Error('the disk is gone') })
}

/** A server whose store fails in some of its acts once it is told to. */
async function startFailing(fail: (storage: Storage) => Partial<Storage>) {
  let failing: Partial<Storage> | null = null
  let real: Storage | undefined
  const server = await startServer({
    wrapStorage(storage) {
      real = storage
      const choose = (name: keyof Storage) => (failing?.[name] ?? storage[name]) as never
      return new Proxy(storage, { get: (_target, name) => choose(name as keyof Storage) })
    },
  })
  return {
    server,
    fail: () => {
      failing = fail(real as Storage)
    },
    logged: (event: string) => server.lines.filter((line) => line.event === event),
    [Symbol.asyncDispose]: server[Symbol.asyncDispose],
  }
}

test('a last use that cannot be written is logged, and the call that it belongs to is answered', async () => {
  await using started = await startFailing(({ sessions }) => ({ sessions: { ...sessions, extend: unavailable } }))
  const { api } = await started.server.signIn()
  started.server.clock.advance(2 * MINUTE)
  started.fail()
  expect(await api.guarded.query()).toBe('ada')
  await until(() => started.logged('session_extend_failed').length > 0)
})

test('a refusal that cannot be recorded stays a refusal, and the log says so', async () => {
  await using started = await startFailing(({ audit }) => ({ audit: { ...audit, append: unavailable } }))
  const { api } = await started.server.signIn()
  started.fail()
  await expect(api.admin.query()).rejects.toMatchObject({ data: { reason: 'forbidden' } })
  await until(() => started.logged('refusal_not_recorded').length > 0)
})
