import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createAuth } from '@trpc-login/server'
import { loadConfig } from '@trpc-login/server/config'
import { expect, test } from 'vitest'
import { VARIABLES } from '../../server/src/cli/variables.ts'
import { resolveOptions } from '../../server/src/options.ts'
import { ROOT } from '../support/process.ts'

const page = readFileSync(join(ROOT, 'docs/configuration.md'), 'utf8')

/** The cells of the table that begins with this column, row by row. */
function rowsUnder(head: string, from = ''): string[][] {
  const [, table = ''] = new RegExp(`\\| ${head} +\\|[^\\n]*\\n\\|[ -|]*\\n((?:\\|.*\\n)+)`).exec(page.slice(page.indexOf(from))) ?? []
  return table
    .trimEnd()
    .split('\n')
    .map((row) => row.split(/(?<!\\)\|/).map((cell) => cell.trim()))
    .map((cells) => cells.slice(1, -1))
}

test('the page names every variable of the environment that is read, with its default, and no other', () => {
  const rows = rowsUnder('name').flatMap(([names = '', defaults = '']) => {
    const known = [...names.matchAll(/`TRPC_LOGIN_(\w+)`/g)].map(([, name]) => name ?? '')
    const values = defaults.split(', ')
    return known.map((name, index) => [name, values.length === known.length ? values[index] : defaults] as const)
  })
  expect(rows.map(([name]) => name).toSorted()).toEqual(Object.keys(VARIABLES).toSorted())
  for (const [name, told] of rows) {
    const value: unknown = VARIABLES[name as keyof typeof VARIABLES].safeParse(undefined).data
    if (typeof value === 'string' || typeof value === 'number') expect([name, told]).toEqual([name, `\`${value}\``])
  }
})

test('the page lists every option of createAuth that is known, and no other', () => {
  const listed = rowsUnder('option', '### `createAuth`').map(([path = '']) => path.replaceAll('`', ''))
  for (const path of listed) {
    const [group = '', name] = path.split('.')
    const wrong = name === undefined ? { [group]: Symbol(group) } : { [group]: { [name]: Symbol(name) } }
    expect(() => createAuth(wrong)).not.toThrow(/unknown option/)
  }
  expect(() => createAuth({ nonsense: 1 } as object)).toThrow('unknown option nonsense')
  const resolved = Object.entries(resolveOptions({})).flatMap(([group, value]) =>
    ['session', 'password', 'limits'].includes(group) ? Object.keys(value as object).map((name) => `${group}.${name}`) : [group],
  )
  expect(resolved.filter((path) => !listed.includes(path))).toEqual([])
  for (const path of ['password.minLength', 'limits.failuresPerAddress', 'trustedProxies']) expect(listed).toContain(path)
})

test('whatever is configured for createAuth reaches it, by the command and by loadConfig', () => {
  const { auth } = loadConfig({
    TRPC_LOGIN_BASE_URL: 'https://login.example.com',
    TRPC_LOGIN_APP_URL: 'https://app.example.com',
    TRPC_LOGIN_ORIGINS: 'https://other.example.com',
    TRPC_LOGIN_RESET_URL: 'https://app.example.com/new-password',
    TRPC_LOGIN_FAILURE_PATH: '/failed',
    TRPC_LOGIN_ROLES: 'editor, reviewer',
    TRPC_LOGIN_TRUSTED_PROXIES: '10.0.0.0/8',
    TRPC_LOGIN_REGISTRATION: 'open',
  })
  expect(auth).toEqual({
    baseUrl: 'https://login.example.com',
    appUrl: 'https://app.example.com',
    origins: ['https://other.example.com'],
    resetUrl: 'https://app.example.com/new-password',
    failurePath: '/failed',
    roles: ['editor', 'reviewer'],
    trustedProxies: ['10.0.0.0/8'],
    registration: 'open',
    providers: [],
  })
})
