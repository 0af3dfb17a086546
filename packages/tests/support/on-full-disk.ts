import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { type AuthError, createAuth, silentLog, sqliteStorage } from '@trpc-login/server'
import { loadConfig } from '@trpc-login/server/config'
import { examine } from '../../server/src/cli/doctor.ts'

// Fills the file system of a directory while a database in it is open, and says what then comes of a write and of doctor, and of a
// schema that is applied there.
const dir = process.argv[2] ?? ''
const file = join(dir, 'login.db')
const auth = createAuth({ storage: sqliteStorage({ path: file }), log: silentLog })
await auth.users.create({ username: 'ada' })
const later = sqliteStorage({ path: join(dir, 'later.db'), migrate: false })
await later.schema()
const filler = openSync(join(dir, 'filler'), 'w')
try {
  for (;;) writeSync(filler, Buffer.alloc(4096))
} catch {
  // The disk is full.
  closeSync(filler)
}

let failure: unknown
for (let n = 0; failure === undefined; n += 1)
  failure = await auth.users.create({ username: `user${n}`, name: 'x'.repeat(200) }).then(
    () => undefined,
    (error: AuthError) => (error.cause as Error).message,
  )
const migration = await later.migrate().then(String, (error: Error) => error.message)
const findings = await examine(loadConfig({ TRPC_LOGIN_DATA_DIR: dir, TRPC_LOGIN_PORT: '0' }))
rmSync(join(dir, 'filler'))
const after = await auth.users.create({ username: 'eve' }).then(({ username }) => username)
await Promise.all([auth.close(), later.close()])
process.stdout.write(JSON.stringify({ failure, migration, after, findings: findings.filter(({ ok }) => !ok) }))
