// How long a page of a million users takes, at any depth and searched, and how fast and flat 100,000 are imported.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createAuth, silentLog, sqliteStorage } from '@trpc-login/server'

const USERS = Number(process.env['USERS'] ?? 1_000_000)
const IMPORTED = Number(process.env['IMPORTED'] ?? 100_000)
const dir = mkdtempSync(join(tmpdir(), 'trpc-login-million-'))

// The same form as an import of our own gives, without its time.
const path = join(dir, 'million.db')
const auth = createAuth({ storage: sqliteStorage({ path }), log: silentLog })
await auth.users.create({ username: 'first' })
const db = new DatabaseSync(path)
db.exec(`with recursive n(i) as (select 0 union all select i + 1 from n where i < ${USERS} - 1)
  insert into users (id, username, username_key, email, roles, epoch, created_at)
  select printf('01900000-0000-7000-8000-%012x', i), 'User' || i, 'user' || i, 'user' || i || '@example.com', '[]', 0, i from n`)
db.close()

async function pages(name: string, input: { search?: string }): Promise<void> {
  const times: number[] = []
  let seen = 0
  for (let cursor: string | undefined; ; ) {
    const from = performance.now()
    const page = await auth.users.list({ ...input, limit: 100, cursor })
    times.push(performance.now() - from)
    seen += page.items.length
    if (page.nextCursor === null) break
    cursor = page.nextCursor
  }
  const sorted = times.toSorted((a, b) => a - b)
  console.log(
    `${name.padEnd(22)}${times.length} pages, ${seen} users: first ${show(times[0])}, median ${show(sorted[sorted.length >> 1])}, last ${show(times.at(-1))}, slowest ${show(sorted.at(-1))} ms`,
  )
}
await pages('all', {})
await pages('search "user99"', { search: 'user99' })
await pages('search one', { search: 'user999999' })
await pages('search address', { search: 'user12345@' })
await pages('search nothing', { search: 'nobody' })
await auth.close()

const file = join(dir, 'users.ndjson')
const hash = '$2b$12$iwe3eFjFTl.i/7.Mi8kP8O6lE2THRlmBSr6OPxdrfwTeEd1IlemtW'
const lines = Array.from({ length: IMPORTED }, (_, index) =>
  JSON.stringify({ username: `user${index}`, email: `user${index}@example.com`, password_hash: hash }),
)
writeFileSync(file, lines.join('\n'))
const main = join(import.meta.dirname, '../../server/src/cli/main.ts')
const from = performance.now()
const watched = ['-v', process.execPath, '--conditions=@trpc-login/source', main, 'user', 'import', file]
const said = execFileSync('/usr/bin/env', ['bash', '-c', '"$@" 2>&1', 'run', '/usr/bin/time', ...watched], {
  env: { ...process.env, TRPC_LOGIN_DATA_DIR: join(dir, 'data') },
  encoding: 'utf8',
})
console.log(
  `import of ${IMPORTED}: ${((performance.now() - from) / 1000).toFixed(1)} s, ${/Maximum resident.*/.exec(said)?.[0] ?? said.slice(-200)}`,
)
rmSync(dir, { recursive: true })

function show(ms: number | undefined): string {
  return (ms ?? 0).toFixed(2)
}
