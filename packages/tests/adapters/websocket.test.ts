import { expect, test, vi } from 'vitest'
import { type Behind, startBehind } from '../support/behind.ts'
import { HOUR, PASSWORD } from '../support/server.ts'
import { type SocketReply, serveSockets } from '../support/socket.ts'

const told = ({ result, error }: SocketReply) => error?.data.reason ?? result?.type
const LOGIN = { username: 'ada', password: PASSWORD }

const all = (query: string) => ({ readsAsEditor: query, writesAsEditor: query, ticksAsEditor: query, 'auth.login': 'invalid_input' })

async function startSockets(keepAlive?: Parameters<typeof serveSockets>[2]) {
  const app = await startBehind('standalone', { registration: 'open' })
  const sockets = await serveSockets(app.auth, app.router, keepAlive)
  return {
    app,
    sockets,
    async [Symbol.asyncDispose]() {
      await sockets[Symbol.asyncDispose]()
      await app[Symbol.asyncDispose]()
    },
  }
}

/** What each kind of message over an open socket is told; the cells of one row. */
async function row(socket: Awaited<ReturnType<Awaited<ReturnType<typeof serveSockets>>['open']>>) {
  const cells: Record<string, unknown> = {}
  for (const [method, path, input] of [
    ['query', 'readsAsEditor', {}],
    ['mutation', 'writesAsEditor', {}],
    ['subscription', 'ticksAsEditor', {}],
    ['mutation', 'auth.login', LOGIN],
  ] as const)
    cells[path] = told(await socket.ask(method, path, input))
  return cells
}

test('CS-7 LO-4 C13.6: over a WebSocket each message is judged by what holds when it comes', async () => {
  await using run = await startSockets()
  const { app, sockets } = run
  const own = { origin: `https://${sockets.host}` }
  const enter = (username: string) => app.enter({ username, roles: ['editor'] })
  const table: Record<string, unknown> = {}

  for (const [name, headers] of Object.entries({
    'foreign origin': { origin: 'https://evil.example' },
    'origin null': { origin: 'null' },
    'cross-site without origin': { 'sec-fetch-site': 'cross-site' },
  })) {
    const { cookie } = await enter(name.replaceAll(' ', '-'))
    const socket = await sockets.open({ cookie, ...headers })
    expect(told(await socket.ask('mutation', 'writesAsEditor', {}))).toMatch(/origin_refused|closed/)
    expect(told(await socket.refusal)).toBe('origin_refused')
    await socket.closed
    table[name] = 'refused: origin_refused, closed'
  }
  expect(app.acts).toEqual([])

  for (const [name, headers] of Object.entries({ 'own origin': own, 'no origin: no browser': {} })) {
    const { cookie } = await enter(name.replaceAll(/\W+/g, '-'))
    const cells = await row(await sockets.open({ cookie, ...headers }))
    expect(cells).toEqual({ readsAsEditor: 'data', writesAsEditor: 'data', ticksAsEditor: 'started', 'auth.login': 'invalid_input' })
    table[name] = cells
  }

  app.acts.length = 0
  const endings: Record<string, [(subject: Awaited<ReturnType<Behind['enter']>>) => unknown, string]> = {
    revoked: [({ id, sessionId }) => app.auth.sessions.revoke(id, sessionId), 'session_ended'],
    'role lost': [({ id }) => app.auth.users.update(id, { roles: [] }), 'forbidden'],
    disabled: [({ id }) => app.auth.users.disable(id), 'session_ended'],
    deleted: [({ id }) => app.auth.users.delete(id), 'not_signed_in'],
    expired: [() => app.clock.advance(2 * HOUR), 'session_ended'],
  }
  for (const [name, [end, reason]] of Object.entries(endings)) {
    const subject = await enter(name.replaceAll(' ', '-'))
    const socket = await sockets.open({ cookie: subject.cookie, ...own })
    expect(told(await socket.ask('query', 'readsAsEditor', {}))).toBe('data')
    app.acts.length = 0
    await end(subject)
    const cells = await row(socket)
    expect(cells, name).toEqual(all(reason))
    expect(app.acts).toEqual([])
    table[name] = cells
  }
  console.log(table)
})

test('LG-2 C13.6: a login over a WebSocket is refused before its password is looked at, and so is whatever comes alone', async () => {
  await using run = await startSockets()
  const { app, sockets } = run
  const { cookie } = await app.enter({ username: 'root', roles: ['admin'] })
  const socket = await sockets.open({ cookie })
  for (let i = 0; i < 12; i += 1) {
    const { error } = await socket.ask('mutation', 'auth.login', { ...LOGIN, password: i === 11 ? PASSWORD : `wrong ${i}` })
    expect(error?.message).toBe('auth.login cannot be called over a WebSocket; call it over HTTP, with httpLink or httpBatchLink')
  }
  interface Procedure {
    readonly _def: { readonly type: 'query' | 'mutation'; readonly meta?: { readonly alone?: boolean } }
  }
  const procedures = Object.entries(app.auth.router._def.procedures as unknown as Record<string, Procedure>)
  const alone = procedures.flatMap(([path, { _def }]) => (_def.meta?.alone === true ? [[`auth.${path}`, _def.type] as const] : []))
  expect(alone.length).toBeGreaterThan(8)
  for (const [path, type] of alone) {
    const { error } = await socket.ask(type, path, { username: 'new', password: PASSWORD, newPassword: PASSWORD })
    expect(error, path).toMatchObject({ data: { reason: 'invalid_input' }, message: expect.stringContaining('call it over HTTP') })
  }
  expect(
    app.lines.filter(({ event }) => event.startsWith('authn') || event === 'user_created' || event === 'session_created'),
  ).toHaveLength(4)
  expect(await app.auth.users.findByUsername('new')).toBe(null)
  expect(await app.auth.sessions.list((await app.auth.users.findByUsername('ada'))?.id ?? '')).toEqual([])
})

test('LO-6 C13.6: a guarded subscription over a WebSocket ends with its session, and the reason is told', async () => {
  await using run = await startSockets()
  const { app, sockets } = run
  const { cookie, id, sessionId } = await app.enter({ username: 'eve', roles: ['editor'] })
  const socket = await sockets.open({ cookie })
  expect(told(await socket.ask('subscription', 'ticksAsEditor', {}))).toBe('started')
  expect(await socket.next()).toMatchObject({ result: { type: 'data' } })
  await app.auth.sessions.revoke(id, sessionId)
  expect(told(await socket.next())).toBe('session_ended')
})

test('SS-5 C13.6: pings keep a socket open and no session alive', async () => {
  await using run = await startSockets({ enabled: true, pingMs: 5, pongWaitMs: 1000 })
  const { app, sockets } = run
  const { cookie } = await app.enter({ username: 'eve', roles: ['editor'] })
  const socket = await sockets.open({ cookie })
  for (let half = 1; half <= 2; half += 1) {
    app.clock.advance(HOUR / 2)
    await vi.waitFor(() => expect(socket.pings.count).toBeGreaterThan(3 * half))
  }
  expect(told(await socket.ask('query', 'readsAsEditor', {}))).toBe('session_ended')
})
