import { expect, test } from 'vitest'
import { cookieOf, MINUTE, PASSWORD, startServer, type TestServer } from '../support/server.ts'

type Access = 'public' | 'user' | 'fresh' | 'admin' | 'fresh admin'
const CALLERS = ['anonymous', 'user', 'remembered', 'disabled', 'admin', 'remembered admin'] as const
type Caller = (typeof CALLERS)[number]

/** What a guard answers, or `in` for whom it lets through. */
const EXPECTED: Record<Access, Record<Caller, string>> = {
  public: { anonymous: 'in', user: 'in', remembered: 'in', disabled: 'in', admin: 'in', 'remembered admin': 'in' },
  user: { anonymous: 'not_signed_in', user: 'in', remembered: 'in', disabled: 'session_ended', admin: 'in', 'remembered admin': 'in' },
  fresh: {
    anonymous: 'not_signed_in',
    user: 'in',
    remembered: 'reauthentication_required',
    disabled: 'session_ended',
    admin: 'in',
    'remembered admin': 'reauthentication_required',
  },
  admin: {
    anonymous: 'not_signed_in',
    user: 'forbidden',
    remembered: 'forbidden',
    disabled: 'session_ended',
    admin: 'in',
    'remembered admin': 'in',
  },
  'fresh admin': {
    anonymous: 'not_signed_in',
    user: 'forbidden',
    remembered: 'forbidden',
    disabled: 'session_ended',
    admin: 'in',
    'remembered admin': 'reauthentication_required',
  },
}
const REFUSALS = new Set(['not_signed_in', 'session_ended', 'reauthentication_required', 'forbidden'])

interface Definition {
  readonly type: 'query' | 'mutation' | 'subscription'
  readonly meta?: { readonly access?: Access }
}

async function startWithCallers() {
  const server = await startServer({ registration: 'open' })
  for (const username of ['root', 'boss']) await server.addUser({ username, roles: ['admin'] })
  const gone = await server.addUser({ username: 'gone' })
  const cookieFor = async (username: string, remember = false) =>
    cookieOf((await server.post('auth.login', { username, password: PASSWORD, remember })).headers)
  const remembered = await cookieFor('ada', true)
  const rememberedAdmin = await cookieFor('boss', true)
  server.clock.advance(20 * MINUTE)
  const cookies: Record<Caller, () => Promise<string>> = {
    anonymous: async () => '',
    user: () => cookieFor('bob'),
    remembered: async () => remembered,
    disabled: async () => disabled,
    admin: () => cookieFor('root'),
    'remembered admin': async () => rememberedAdmin,
  }
  const disabled = await cookieFor('gone')
  await server.auth.users.disable(gone.id)
  return { server, cookies }
}

/** An input that no procedure acts on: whoever gets past the guard meets the schema, or does nothing of note. */
async function outcomeOf(server: TestServer, path: string, type: Definition['type'], cookie: string): Promise<string> {
  const input = { nonsense: true }
  if (type === 'mutation') return (await server.post(path, input, { cookie })).body.error?.data.reason ?? 'in'
  const controller = new AbortController()
  const response = await server.fetch(`/api/${path}?input=${encodeURIComponent(JSON.stringify(input))}`, {
    headers: { cookie, accept: 'application/json' },
    signal: controller.signal,
  })
  if (type === 'query') {
    const { error } = (await response.json()) as { error?: { data: { reason: string } } }
    return error?.data.reason ?? 'in'
  }
  const reader = response.body?.getReader()
  let text = ''
  while (!/event: serialized-error|event: connected/.test(text)) text += new TextDecoder().decode((await reader?.read())?.value)
  const more = await Promise.race([reader?.read(), new Promise<null>((resolve) => setTimeout(resolve, 150, null))])
  text += new TextDecoder().decode(more?.value)
  controller.abort()
  return /"reason":"(\w+)"/.exec(text)?.[1] ?? 'in'
}

test('AD-1: every procedure declares who may call it, and every kind of caller meets exactly that', async () => {
  const { server, cookies } = await startWithCallers()
  await using _server = server
  const procedures = Object.entries(server.auth.router._def.procedures as unknown as Record<string, { _def: Definition }>)
  expect(procedures.length).toBeGreaterThan(24)
  const table: string[] = []
  for (const [path, { _def }] of procedures) {
    const access = _def.meta?.access
    expect(access, `${path} declares no access`).toBeDefined()
    const expected = EXPECTED[access as Access]
    const outcomes: string[] = []
    for (const caller of CALLERS) {
      // Signing out would spoil the caller for the rest of the table.
      const cookie = path === 'logout' ? '' : await cookies[caller]()
      const outcome = await outcomeOf(server, `auth.${path}`, _def.type, cookie)
      const met = REFUSALS.has(outcome) ? outcome : 'in'
      expect(`${path} as ${caller}: ${met}`).toBe(`${path} as ${caller}: ${expected[caller]}`)
      outcomes.push(met)
    }
    table.push(`${path.padEnd(26)}${(access ?? '').padEnd(13)}${outcomes.map((outcome) => outcome.padEnd(27)).join('')}`.trimEnd())
  }
  console.log(['procedure'.padEnd(26) + 'access'.padEnd(13) + CALLERS.map((caller) => caller.padEnd(27)).join(''), ...table].join('\n'))
})
