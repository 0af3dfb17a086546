import { createClient } from '@trpc-login/client/node'
import type { AppRouter } from './existing-app.ts'
import { wire } from './wire.ts'

const { api, session, close } = createClient<AppRouter>({
  url: process.argv[2] ?? '',
  transformer: wire,
  allowInsecureLoopback: true,
})
const failed = (error: { data?: { reason?: string } | null }) => error.data?.reason

const answers = {
  version: (await api.version.query()).builtAt.toISOString(),
  refused: await api.note.add.mutate('x').catch(failed),
  registered: (await api.auth.register.mutate({ username: 'ada', password: 'correct horse battery' })).user.createdAt instanceof Date,
  added: (await api.note.add.mutate('first')).count,
  since: (await api.note.add.mutate('second')).since instanceof Date,
  forbidden: await api.note.clear.mutate().catch(failed),
  current: session.current?.user.username,
  loggedOut: (await api.auth.logout.mutate()).ok,
  after: await api.note.add.mutate('x').catch(failed),
}
console.log(JSON.stringify(answers))
await close()
