import { join } from 'node:path'
import { createAuth, silentLog, sqliteStorage } from '@trpc-login/server'
import { expect, test, vi } from 'vitest'
import { session } from '../storage/conformance/records.ts'
import { CLI, cli, run, temporaryDirectory } from '../support/process.ts'
import { HOUR } from '../support/server.ts'

// Each test starts the command several times, which takes long where the machine is busy.
vi.setConfig({ testTimeout: 90_000 })

async function withAda() {
  const cwd = temporaryDirectory()
  const { stdout } = await cli(['user', 'add', 'ada', '--no-password', '--json'], { cwd })
  return { cwd, id: (JSON.parse(stdout) as { id: string }).id }
}

test('--version prints the version', async () => {
  expect(await cli(['--version'], { cwd: temporaryDirectory() })).toEqual({
    code: 0,
    stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    stderr: '',
  })
})

test('AU-2: what others wrote cannot act on the terminal: it is shown and printed as JSON without a control character', async () => {
  const { cwd, id } = await withAda()
  const evil = '\u001b]0;title\u0007\u001b[2J\u009b31m\u0085\u200b\u202e\u2066\u2028\ud800 end'
  const auth = createAuth({ storage: sqliteStorage({ path: join(cwd, '.trpc-login/login.db') }), log: silentLog })
  const expiresAt = Date.now() + HOUR
  const evilSession = session({ userId: id, userAgent: evil, expiresAt, absoluteExpiresAt: expiresAt })
  expect(await auth.storage.sessions.start(evilSession, { replaces: null, maxPerUser: 50 })).toBe(true)
  const entry = auth.audit.entry('user_updated', { actorId: null, address: null }, id, { [evil]: evil })
  await auth.storage.users.update(id, { name: evil.replace('\ud800', '') }, entry)
  await auth.close()
  const outputs = new Map<string, string>()
  for (const command of ['user list', 'session list ada', 'session list ada --json', 'audit list --json', 'user export']) {
    const { stdout, stderr } = await cli(command.split(' '), { cwd })
    outputs.set(command, stdout)
    expect((stdout + stderr).replaceAll('\n', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
  }
  const unknown = await cli(['user', 'show', evil], { cwd })
  expect(unknown.stderr.replaceAll('\n', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}]/u)
  expect(outputs.get('session list ada')).toContain('\\u{1b}]0;title\\u{7}\\u{1b}[2J\\u{9b}31m\\u{85}\\u{200b}\\u{202e}\\u{2066}\\u{2028}')
  const sessions = JSON.parse(outputs.get('session list ada --json') ?? '') as { userAgent: string }[]
  expect(sessions[0]?.userAgent).toContain(evil.slice(0, 20))
})

test.skipIf(process.platform === 'win32')(
  'results that cannot be written, to a full disk or to nobody, are one sentence and exit 1',
  async () => {
    const { cwd } = await withAda()
    const tl = (then: string) =>
      run('sh', ['-c', `"$0" --conditions=@trpc-login/source "$1" ${then}`, process.execPath, CLI], { cwd }).ended
    const full = await tl('user export >/dev/full')
    expect([full.code, full.stderr]).toEqual([1, expect.stringMatching(/\ntrpc-login: standard output cannot be written: ENOSPC\n$/)])
    // The reader has gone before the first line is there.
    const gone = await tl('user list 2>said | true; cat said >&2')
    expect(gone.stderr).toMatch(/^database: .*\ntrpc-login: standard output cannot be written: EPIPE\n$/)
    const unheard = await tl('user list --json 2>/dev/full')
    expect([unheard.code, unheard.stdout]).toEqual([0, expect.stringContaining('"username":"ada"')])
  },
)
