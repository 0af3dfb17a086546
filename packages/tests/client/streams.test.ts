import { symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { start, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/remote.ts'
import { openStreams, startServer } from '../support/server.ts'

test('a subscription whose signal is aborted completes, and its stream on the server ends', async () => {
  await using server = await startServer()
  const { api } = await server.signIn()
  const before = openStreams.generators
  const stop = new AbortController()
  const heard: string[] = []
  api.waits.subscribe(undefined, {
    signal: stop.signal,
    onData: (data) => heard.push(data),
    onComplete: () => heard.push('complete'),
    onError: () => heard.push('error'),
  })
  await until(() => heard.length > 0 && openStreams.generators === before + 1)
  stop.abort()
  await until(() => heard.length > 1 && openStreams.generators === before)
  expect(heard).toEqual(['started', 'complete'])
})

test('an event that cannot be read ends its subscription with an error', async () => {
  await using server = await startServer()
  const { api } = await server.signIn('ada', {
    transformer: {
      serialize: (value: unknown) => value,
      deserialize(value: unknown) {
        const { json } = value as { json: unknown }
        if (json === 'started') throw new Error('not of this form')
        return json
      },
    },
  })
  const error = await new Promise<Error>((resolve) => void api.waits.subscribe(undefined, { onError: resolve }))
  expect(error.message).toBe('not of this form')
})

// In a process of its own: a test run takes a mistake that nobody catches for its own.
const LISTENERS = `
import { createClient } from '@trpc-login/client/node'
process.on('uncaughtException', (error) => console.log('uncaught:', error.message))
const { api, session, close } = createClient({ url: process.argv[2], ca: process.env.CA })
session.subscribe(() => { throw new Error('the listener fails') })
session.subscribe(({ status }) => console.log(status))
console.log((await api.auth.login.mutate({ username: 'ada', password: 'correct horse battery' })).user.username)
await close()
`

test('a listener of the session that throws fails neither the call nor the other listeners, and is heard of', async () => {
  await using server = await startServer()
  const cwd = temporaryDirectory()
  symlinkSync(join(import.meta.dirname, '../node_modules'), join(cwd, 'node_modules'))
  writeFileSync(join(cwd, 'listeners.mjs'), LISTENERS)
  const { stdout, stderr, code } = await start('listeners.mjs', [server.url], { cwd, env: { CA: server.ca } }).ended
  expect([stderr, code]).toEqual(['', 0])
  expect(stdout.split('\n').toSorted()).toEqual(['', 'ada', 'signed_in', 'uncaught: the listener fails'])
})
