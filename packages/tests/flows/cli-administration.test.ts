import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { cli, temporaryDirectory } from '../support/process.ts'
import { PASSWORD } from '../support/server.ts'

const ROLES = { TRPC_LOGIN_ROLES: 'editor, reviewer' }

function inFreshDirectory() {
  const cwd = temporaryDirectory()
  const options = { cwd, env: ROLES, input: `${PASSWORD}\n` }
  return {
    cwd,
    run: (...args: string[]) => cli(args, options),
    async json<T>(...args: string[]): Promise<T> {
      const { code, stdout, stderr } = await cli([...args, '--json'], options)
      if (code !== 0) throw new Error(stderr)
      return JSON.parse(stdout) as T
    },
  }
}

interface Row {
  id: string
  username: string
  roles: string[]
  disabledAt: string | null
}

test('the operator’s day: users are listed, shown, given roles, disabled, enabled, reset and deleted from the command line', async () => {
  const { run, json } = inFreshDirectory()
  await json('user', 'add', 'root', '--role', 'admin', '--password-stdin')
  const ada = await json<Row>('user', 'add', 'ada', '--password-stdin')
  expect((await json<{ items: Row[] }>('user', 'list')).items.map(({ username }) => username)).toEqual(['ada', 'root'])
  const page = await run('user', 'list', '--limit', '1')
  expect(page.stdout).toMatch(/^username +id +email +roles +last sign-in +state\nada .*\nmore with --cursor \S+\n$/)
  expect((await run('user', 'list', '--cursor', page.stdout.trim().split(' ').at(-1) ?? '')).stdout).toMatch(/\nroot .* admin /)
  expect((await json<{ items: Row[] }>('user', 'list', '--search', 'RO')).items).toHaveLength(1)
  expect(await json<Row>('user', 'show', ada.id)).toMatchObject({ username: 'ada' })
  expect((await json<Row>('user', 'set-roles', 'ADA', 'editor', 'admin')).roles).toEqual(['editor', 'admin'])
  expect((await json<Row>('user', 'set-roles', 'ada')).roles).toEqual([])
  expect((await json<Row>('user', 'disable', 'ada')).disabledAt).not.toBe(null)
  expect((await run('user', 'reset-password', 'ada')).code).toBe(3)
  expect((await json<Row>('user', 'enable', 'ada')).disabledAt).toBe(null)
  const reset = await run('user', 'reset-password', 'ada')
  expect([reset.code, reset.stdout]).toEqual([0, expect.stringMatching(/^https:\/\/\S+#token=[\w-]{43}\n$/)])
  expect(reset.stderr).toContain('once')
  expect(await json('session', 'list', 'ada')).toEqual([])
  expect(await json('session', 'revoke', 'ada')).toEqual({ revoked: 0 })
  expect((await run('user', 'delete', 'ada')).stdout).toBe(`deleted ada (${ada.id})\n`)
  const log = await json<{ items: { type: string; actorId: string | null }[]; days: { signIns: number[] } }>('audit', 'list')
  expect(log.items.map(({ type }) => type)).toEqual([
    'user_deleted',
    'password_reset_started',
    'user_enabled',
    'user_disabled',
    'authz_change',
    'authz_change',
    'user_created',
    'user_created',
  ])
  expect(log.days.signIns).toEqual(Array.from({ length: 30 }, () => 0))
  expect((await run('audit', 'list', '--type', 'user_created', '--limit', '1')).stdout).toMatch(
    /^sign-ins .*\nfailures .*\nat .*\n.*user_created.*\nmore with --cursor/,
  )
})

test('what is not there is exit 3, what cannot be is 4, and wrong use is 2, each with what is wrong', async () => {
  const { run, json } = inFreshDirectory()
  await json('user', 'add', 'root', '--role', 'admin', '--password-stdin')
  for (const args of [
    ['user', 'show', 'nobody'],
    ['user', 'delete', 'nobody'],
    ['session', 'list', 'nobody'],
    ['session', 'revoke', 'root', 'x'],
  ]) {
    expect((await run(...args)).code).toBe(3)
  }
  for (const act of ['set-roles', 'disable', 'delete']) {
    const { code, stderr } = await run('user', act, 'root')
    expect([code, stderr]).toEqual([4, expect.stringMatching(/\ntrpc-login: The last administrator must stay one\n$/)])
  }
  for (const args of [
    ['user', 'list', '--limit', '0'],
    ['user', 'list', '--cursor', 'x'],
    ['user', 'set-roles', 'root', 'Not A Role'],
    ['user', 'set-roles', 'root', 'admin', 'edtior'],
    ['audit', 'list', '--limit', '101'],
    ['user', 'show'],
  ]) {
    const { code, stdout, stderr } = await run(...args)
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).not.toBe('')
  }
})

test('RV-5: a reset link leads where the environment says: its own page, else the page of the application, the public origin, the address', async () => {
  const cwd = temporaryDirectory()
  await cli(['user', 'add', 'ada', '--no-password'], { cwd })
  writeFileSync(join(cwd, 'reset-url'), 'https://accounts.example.com/new-password\n')
  const linkWith = async (env: Record<string, string>) => {
    const { stdout } = await cli(['user', 'reset-password', 'ada'], { cwd, env })
    return stdout.replace(/#token=[\w-]{43}\n$/, '')
  }
  const base = { TRPC_LOGIN_PORT: '9443', TRPC_LOGIN_BASE_URL: 'https://login.example.com' }
  const app = { ...base, TRPC_LOGIN_APP_URL: 'https://app.example.com' }
  expect(await linkWith({ TRPC_LOGIN_PORT: '9443' })).toBe('https://127.0.0.1:9443/reset-password')
  expect(await linkWith(base)).toBe('https://login.example.com/reset-password')
  expect(await linkWith(app)).toBe('https://app.example.com/reset-password')
  expect(await linkWith({ ...app, TRPC_LOGIN_RESET_URL: 'https://x.example.com/reset' })).toBe('https://x.example.com/reset')
  expect(await linkWith({ ...app, TRPC_LOGIN_RESET_URL_FILE: 'reset-url' })).toBe('https://accounts.example.com/new-password')
  const refused = await cli(['user', 'reset-password', 'ada'], { cwd, env: { TRPC_LOGIN_RESET_URL: 'http://x.example.com/reset' } })
  expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('TRPC_LOGIN_RESET_URL must be an https URL')])
})

test('a role that nobody looks for is refused, with those that there are, and options do not swallow the username', async () => {
  const { run, json } = inFreshDirectory()
  const misspelt = await run('user', 'add', 'ann', '--no-password', '--role', 'edtior')
  expect([misspelt.code, misspelt.stdout]).toEqual([2, ''])
  expect(misspelt.stderr).toContain('edtior is no role; known are admin, editor, reviewer, and TRPC_LOGIN_ROLES names')
  const roles = async (...args: string[]) => (await json<Row>('user', 'add', '--no-password', ...args)).roles
  expect(await roles('--role', 'admin', 'ann')).toEqual(['admin'])
  expect(await roles('bob', '--role', 'editor', '--role', 'reviewer')).toEqual(['editor', 'reviewer'])
  expect(await roles('--role', 'editor,admin', 'eve')).toEqual(['editor', 'admin'])
  expect((await run('user', 'add', '--role', 'admin', '--no-password')).stderr).toContain("missing required argument 'username'")
})

test.each(['bash', 'zsh', 'fish'])('%s gets a completion script that names the commands', async (shell) => {
  const { run } = inFreshDirectory()
  const { code, stdout } = await run('completion', shell)
  expect(code).toBe(0)
  for (const word of ['serve', 'user', 'set-roles', 'audit']) expect(stdout).toContain(word)
})

test('bash completes commands and options with it', async () => {
  const { run } = inFreshDirectory()
  const { stdout } = await run('completion', 'bash')
  const complete = (...words: string[]) =>
    execFileSync(
      'bash',
      ['-c', `${stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _trpc_login; echo "\${COMPREPLY[@]}"`, 'bash', 'trpc-login', ...words],
      {
        encoding: 'utf8',
      },
    ).trim()
  expect(complete('us')).toBe('user')
  expect(complete('user', 'se')).toBe('set-roles')
  expect(complete('audit', 'list', '--t')).toBe('--type')
  expect(complete('user', 'add', 'ada', '--pass')).toBe('--password-stdin')
  expect((await run('completion', 'tcsh')).code).toBe(2)
})

test('doctor sees that the clock was set back', async () => {
  const cwd = temporaryDirectory()
  await cli(['user', 'add', 'ada', '--no-password'], { cwd })
  const db = new DatabaseSync(join(cwd, '.trpc-login/login.db'))
  db.exec('update audit set at = at + 86400000')
  db.close()
  const { code, stdout } = await cli(['doctor'], { cwd })
  expect([code, stdout]).toEqual([1, expect.stringContaining('the clock was set back')])
})
