import { lstatSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createDatabase } from '../support/postgres.ts'
import { cli, temporaryDirectory } from '../support/process.ts'

// Each test starts the command several times, which takes long where the machine is busy.
vi.setConfig({ testTimeout: 90_000 })

const HASH = '$2y$05$KJdpJHHMOv0KdhL77IoG.uTdbB8hTm7N8N6oEUlCkubiUcLIiJrbC'

/** Imports a file of this name and content, and says what became of it. */
async function importFile(cwd: string, name: string, content: string, options: { args?: string[]; env?: Record<string, string> } = {}) {
  writeFileSync(join(cwd, name), content)
  const { code, stdout, stderr } = await cli(['user', 'import', name, '--json', ...(options.args ?? [])], { cwd, env: options.env ?? {} })
  expect(stderr).not.toContain('    at ')
  return { code, stderr, result: stdout === '' ? null : (JSON.parse(stdout) as { rejectsFile: string | null }) }
}

async function makeDatabase(): Promise<string> {
  const cwd = temporaryDirectory()
  expect((await cli(['migrate'], { cwd })).code).toBe(0)
  return cwd
}

const EMAILS = [
  'username,email,email_verified',
  'ann,a@example.com,true',
  'bob,A@example.com,yes',
  'eve,a@example.com,no',
  'ann,e@example.com,true',
  '',
].join('\n')

test.each(['SQLite', 'PostgreSQL'])(
  'a user whose verified email is another’s is rejected as that, and not counted as already there: %s',
  async (engine) => {
    const database = engine === 'SQLite' ? null : await createDatabase()
    onTestFinished(() => database?.[Symbol.asyncDispose]())
    const cwd = temporaryDirectory()
    const env: Record<string, string> = database === null ? {} : { TRPC_LOGIN_DATABASE_URL: database.url }
    expect((await cli(['migrate'], { cwd, env })).code).toBe(0)
    const dry = await importFile(cwd, 'users.csv', EMAILS, { env, args: ['--dry-run'] })
    expect([dry.code, dry.result]).toEqual([0, { added: 2, existing: 1, rejected: 1, dryRun: true, rejectsFile: null }])
    expect(dry.stderr).toContain('line 3: the verified email a@example.com belongs to another user')
    const first = await importFile(cwd, 'users.csv', EMAILS, { env })
    expect([first.code, first.result]).toMatchObject([0, { added: 2, existing: 1, rejected: 1, rejectsFile: 'users.csv.rejects' }])
    expect(JSON.parse(readFileSync(join(cwd, 'users.csv.rejects'), 'utf8'))).toEqual({
      line: 3,
      reason: 'the verified email a@example.com belongs to another user',
    })
    const again = await importFile(cwd, 'users.csv', EMAILS, { env, args: ['--rejects', 'again'] })
    expect([again.code, again.result]).toMatchObject([0, { added: 0, existing: 3, rejected: 1, rejectsFile: 'again' }])
  },
)

test('what is exported is imported again as it was, one line a user, whatever a name holds', async () => {
  const [from, to] = [await makeDatabase(), await makeDatabase()]
  const rows = [
    { username: 'ann', name: 'A "quoted", name', email: 'ann@example.com', email_verified: true, roles: ['admin'], disabled: false },
    { username: 'жук', name: 'José 🐞', email: null, email_verified: false, roles: [], disabled: true, password_hash: HASH },
    { username: 'old', name: 'Old', email: null, email_verified: false, roles: [], disabled: false },
  ]
  await importFile(from, 'users.ndjson', rows.map((row) => JSON.stringify(row)).join('\n'))
  const db = new DatabaseSync(join(from, '.trpc-login/login.db'))
  // As earlier versions let it be; today such a name is refused.
  db.prepare("update users set name = ? where username = 'old'").run('Old\u2028\u0085\u001b[31mName')
  db.close()
  const exported = (await cli(['user', 'export', '--with-hashes'], { cwd: from })).stdout
  expect(exported).not.toMatch(/[^\n\P{C}]|\p{Zl}/u)
  const lines = exported.trimEnd().split('\n')
  expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
    { ...rows[2], name: 'Old\u2028\u0085\u001b[31mName' },
    rows[1],
    rows[0],
  ])
  const copied = await importFile(to, 'users.ndjson', exported)
  expect(copied.result).toMatchObject({ added: 2, existing: 0, rejected: 1 })
  expect(readFileSync(join(to, 'users.ndjson.rejects'), 'utf8')).toMatch(/^{"line":1,"reason":"name Must not contain /)
  const again = (await cli(['user', 'export', '--with-hashes'], { cwd: to })).stdout.trimEnd().split('\n')
  expect(again.toSorted()).toEqual(lines.slice(1).toSorted())
})

test('FILE.rejects replaces nothing and follows no link; without rejects there is none, and it is for the owner alone', async () => {
  const cwd = await makeDatabase()
  const bad = 'username\na b\nann\n'
  symlinkSync(join(cwd, 'target'), join(cwd, 'linked.csv.rejects'))
  writeFileSync(join(cwd, 'there.csv.rejects'), 'mine')
  for (const name of ['linked.csv', 'there.csv']) {
    const { code, stderr, result } = await importFile(cwd, name, bad)
    expect([code, result]).toEqual([4, null])
    expect(stderr).toContain(`${name}.rejects is there already and is not replaced; move it away, or name another with --rejects`)
  }
  expect(lstatSync(join(cwd, 'target'), { throwIfNoEntry: false })).toBe(undefined)
  expect(readFileSync(join(cwd, 'there.csv.rejects'), 'utf8')).toBe('mine')
  expect((await cli(['user', 'list', '--json'], { cwd })).stdout).toContain('"items":[]')
  const named = await importFile(cwd, 'linked.csv', bad, { args: ['--rejects', 'other'] })
  expect([named.code, statSync(join(cwd, 'other')).mode & 0o777]).toEqual([0, 0o600])
  const good = await importFile(cwd, 'good.csv', 'username\nbob\n')
  expect([good.code, lstatSync(join(cwd, 'good.csv.rejects'), { throwIfNoEntry: false })]).toEqual([0, undefined])
})

test('a list of rejects that cannot be written is one sentence and exit 1', async () => {
  const cwd = await makeDatabase()
  const { code, stderr } = await importFile(cwd, 'users.csv', 'username\na b\n', { args: ['--rejects', 'no/such/directory'] })
  expect([code, stderr.trim().split('\n').at(-1)]).toEqual([
    1,
    'trpc-login: no/such/directory cannot be written: ENOENT; name another file with --rejects',
  ])
})

test('a file that ends inside of quotes ends the import with exit 1, after what stood before was added', async () => {
  const cwd = await makeDatabase()
  const { code, stderr, result } = await importFile(cwd, 'users.csv', 'username,name\nann,A\nbob,"B\neve,E\n')
  expect([code, result]).toMatchObject([1, { added: 1, rejected: 1 }])
  expect(stderr).toContain(
    'lines 3 to 4: a quote is opened and never closed; nothing from here on was read: mend it and run the import again',
  )
})

test('what a file says cannot act on the terminal: names of keys arrive escaped, on the screen and in the list', async () => {
  const cwd = await makeDatabase()
  const key = '\u001b[31mred\u0085\u009b\u202e\u2028'
  const { stderr } = await importFile(cwd, 'users.ndjson', JSON.stringify({ username: 'ann', [key]: 1 }))
  const listed = readFileSync(join(cwd, 'users.ndjson.rejects'), 'utf8')
  for (const text of [stderr.replaceAll(/[\n\r]/g, ''), listed.trimEnd()]) expect(text).not.toMatch(/[\p{C}\p{Zl}]/u)
  expect(stderr).toContain('\\u{1b}[31mred\\u{85}\\u{9b}\\u{202e}\\u{2028}')
  expect((JSON.parse(listed) as { reason: string }).reason).toContain(key)
})
