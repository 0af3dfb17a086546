import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { createTRPCClient, httpBatchLink, TRPCClientError } from '@trpc/client'
import { createHTTPServer } from '@trpc/server/adapters/standalone'
import { createClient as createPlainClient } from '@trpc-login/client'
import { createClient, fileStore, reasonOf, retryAfterOf } from '@trpc-login/client/node'
import { createAuth, silentLog, sqliteStorage } from '@trpc-login/server'
import superjson from 'superjson'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createCookieJar } from '../../client/src/cookie-jar.ts'
import { travelsAlone } from '../../client/src/session-link.ts'
import { ROOT } from '../support/process.ts'
import { type AppRouter, createAppRouter, DAY, HOUR, PASSWORD, startServer } from '../support/server.ts'

const TOKEN = 'A'.repeat(43)
const reason = (call: Promise<unknown>) => call.then(() => 'passed', reasonOf)

describe('session state', () => {
  test('follows sign-in, sign-out and the server’s end, and calls back on each change alone', async () => {
    await using server = await startServer()
    const { api, session } = server.client()
    const seen: string[] = []
    const stop = session.subscribe(({ status }) => seen.push(status))
    expect([session.state.status, session.current]).toEqual(['unknown', null])
    expect(await session.refresh()).toBe(null)
    await api.auth.login.mutate({ username: 'ada', password: PASSWORD })
    expect(session.current?.user.createdAt).toBeInstanceOf(Date)
    await api.auth.me.query()
    await api.auth.logout.mutate()
    await api.auth.login.mutate({ username: 'ada', password: PASSWORD })
    server.clock.advance(2 * HOUR)
    expect(await reason(api.guarded.query())).toBe('session_ended')
    expect(session.state).toEqual({ status: 'ended', current: null })
    stop()
    await api.auth.login.mutate({ username: 'ada', password: PASSWORD })
    expect(seen).toEqual(['signed_out', 'signed_in', 'signed_out', 'signed_in', 'ended'])
  })

  test('CL-5: stays signed in on a wrong password, a refusal, a failing server and a network error', async () => {
    let broken = false
    await using server = await startServer({
      wrapStorage: (storage) => ({
        ...storage,
        sessions: { ...storage.sessions, find: (hash) => (broken ? Promise.reject(new Error('down')) : storage.sessions.find(hash)) },
      }),
    })
    const { api, session } = await server.signIn()
    expect(await reason(api.auth.reauthenticate.mutate({ password: 'wrong wrong wrong' }))).toBe('invalid_credentials')
    expect(await reason(api.admin.query())).toBe('forbidden')
    broken = true
    expect(await reason(api.guarded.query())).toBe('unavailable')
    broken = false
    expect(session.state.status).toBe('signed_in')
    expect(await api.guarded.query()).toBe('ada')
    await server.close()
    expect(await reason(api.guarded.query())).toBe(null)
    expect(session.state.status).toBe('signed_in')
  })

  test('a late answer for the old session leaves a new sign-in alone', async () => {
    let hold: (() => void) | undefined
    const held = new Promise<void>((resolve) => (hold = resolve))
    let holding = false
    await using server = await startServer({
      wrapStorage: (storage) => ({
        ...storage,
        sessions: {
          ...storage.sessions,
          async find(hash) {
            const found = await storage.sessions.find(hash)
            if (holding) await held
            return found
          },
        },
      }),
    })
    const { api, session } = await server.signIn()
    await server.auth.sessions.revokeAll(session.current?.user.id ?? '')
    holding = true
    const late = reason(api.guarded.query())
    holding = false
    await api.auth.login.mutate({ username: 'ada', password: PASSWORD })
    hold?.()
    await late
    expect(session.state.status).toBe('signed_in')
    expect(await api.guarded.query()).toBe('ada')
  })
})

describe('recovery', () => {
  test('parallel calls of an ended session share one recovery and are each sent once more', async () => {
    await using server = await startServer()
    let recoveries = 0
    const { api, session } = await server.signIn('ada', {
      recover: async (plain) => {
        recoveries += 1
        await plain.auth.login.mutate({ username: 'ada', password: PASSWORD })
      },
    })
    const seen: string[] = []
    session.subscribe(({ status }) => seen.push(status))
    server.clock.advance(2 * HOUR)
    const answers = await Promise.all([api.guarded.query(), api.guarded.query(), api.authFunc.mutate({ a: 1 })])
    expect(answers).toEqual(['ada', 'ada', { ok: true, msg: 'auth_func({"a":1}),user_id=ada' }])
    expect([recoveries, seen]).toEqual([1, ['signed_in']])
  })

  test('when recovery fails, the call’s own error is delivered and the session has ended', async () => {
    await using server = await startServer()
    const { api, session } = await server.signIn('ada', { recover: () => Promise.reject(new Error('no way back')) })
    server.clock.advance(2 * HOUR)
    expect(await reason(api.guarded.query())).toBe('session_ended')
    expect(session.state.status).toBe('ended')
  })
})

const listen = (server: ReturnType<typeof createServer>) =>
  new Promise<number>((resolve) => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))

describe('transport', () => {
  test('CL-2: a redirect is an error, and nothing reaches its target', async () => {
    let reached = 0
    const target = createServer((_req, res) => {
      reached += 1
      res.end('{}')
    })
    const targetPort = await listen(target)
    const source = createServer((_req, res) => {
      res.writeHead(307, { location: `http://127.0.0.1:${targetPort}/` }).end()
    })
    const sourcePort = await listen(source)
    onTestFinished(() => void (target.close(), source.close()))
    const { api } = createPlainClient<AppRouter>({ url: `http://127.0.0.1:${sourcePort}`, allowInsecureLoopback: true })
    await expect(api.auth.login.mutate({ username: 'ada', password: PASSWORD })).rejects.toThrow()
    await expect(api.open.query()).rejects.toThrow()
    expect(reached).toBe(0)
  })

  test.each([
    'http://example.com',
    'http://127.0.0.1:1',
    'ftp://x',
    'nonsense',
    'https://user:pw@example.com',
    'https://:p@example.com',
    'https://user@example.com',
    'https://example.com/#x',
    'https://example.com/api?x=1',
  ])('CL-1: %s is refused as the server’s URL', (url) => {
    expect(() => createClient<AppRouter>({ url })).toThrow(TypeError)
    expect(() => createClient<AppRouter>({ url })).toThrow(JSON.stringify(url))
  })

  test('CL-6: without the private authority the server is not trusted', async () => {
    await using server = await startServer()
    const { api, close } = createClient<AppRouter>({ url: server.url })
    await expect(api.open.query()).rejects.toThrow()
    await close()
  })

  test('a base URL with a path, a slash or none at all means the same server', async () => {
    await using server = await startServer()
    for (const url of [server.url, `${server.url}/`, `${server.url}/api`, `${server.url}/api/`]) {
      expect((await server.client({ url }).api.open.query()).at).toEqual(new Date(0))
    }
    for (const basePath of ['/api', '/api/']) expect((await server.client({ basePath }).api.open.query()).at).toEqual(new Date(0))
  })

  test.each(['/', '/trpc', '/api', '/a/b'])(
    'a server at %s is called there, by the SDK and by a stock client: batches, single calls and streams',
    async (basePath) => {
      const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog })
      await auth.users.create({ username: 'ada', password: PASSWORD })
      // tRPC's own server stands at the root unless it is told otherwise.
      const options = basePath === '/' ? {} : { basePath: `${basePath}/` }
      const server = createHTTPServer({ router: createAppRouter(auth), createContext: (opts) => auth.createContext(opts), ...options })
      const url = `http://127.0.0.1:${await listen(server)}`
      onTestFinished(async () => {
        server.close()
        await auth.close()
      })
      for (const place of [{ url, basePath }, ...(basePath === '/' ? [] : [{ url: `${url}${basePath}` }])]) {
        const { api, close } = createPlainClient<AppRouter>({ ...place, allowInsecureLoopback: true })
        expect((await api.auth.login.mutate({ username: 'ada', password: PASSWORD })).user.username).toBe('ada')
        expect(await Promise.all([api.guarded.query(), api.guarded.query()])).toEqual(['ada', 'ada'])
        const tick = await new Promise((resolve, reject) => void api.ticks.subscribe(undefined, { onData: resolve, onError: reject }))
        expect(tick).toMatchObject({ n: 0, username: 'ada' })
        await close()
      }
      const stock = createTRPCClient<AppRouter>({ links: [httpBatchLink({ url: `${url}${basePath}`, transformer: superjson })] })
      expect((await stock.open.query()).at).toEqual(new Date(0))
      expect(await reason(stock.guarded.query())).toBe('not_signed_in')
    },
  )

  test.each([
    ['https://example.com', 'trpc'],
    ['https://example.com', ''],
    ['https://example.com', '/x?y'],
    ['https://example.com', '/x#y'],
    ['https://example.com/api', '/'],
  ])('%s with the base path %j is refused', (url, basePath) => {
    expect(() => createClient<AppRouter>({ url, basePath })).toThrow('basePath must be like / or /trpc')
  })

  test('a closed client ends its subscriptions and refuses calls, and the session goes on', async () => {
    await using server = await startServer()
    const { api, close } = await server.signIn()
    await close()
    await expect(api.guarded.query()).rejects.toThrow('this client was closed')
    expect((await server.auth.users.findByUsername('ada'))?.id).toBeDefined()
  })

  test('more than ten calls at once travel in several batches', async () => {
    await using server = await startServer()
    const { api } = await server.signIn()
    expect(await Promise.all(Array.from({ length: 25 }, () => api.guarded.query()))).toHaveLength(25)
  })

  test('the wait that a server asks for is handed on', () => {
    const error = TRPCClientError.from({ error: { message: 'm', code: -32029, data: { reason: 'rate_limited', retryAfter: 7 } } })
    expect([reasonOf(error), retryAfterOf(error)]).toEqual(['rate_limited', 7])
    expect([reasonOf(new Error('x')), retryAfterOf(null)]).toEqual([null, null])
  })
})

test('whatever a server demands to come alone travels alone, by the SDK and by the recipe for other clients', () => {
  const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog })
  const { procedures } = createAppRouter(auth)._def
  const alone = Object.entries(procedures as unknown as Record<string, { _def: { meta?: { alone?: boolean } } }>).flatMap(
    ([path, { _def }]) => (_def.meta?.alone === true ? [path] : []),
  )
  expect(alone.length).toBeGreaterThan(8)
  const [, recipe = ''] = /^const ALONE =\s+\/(.*)\/$/m.exec(readFileSync(join(ROOT, 'docs/client.md'), 'utf8')) ?? []
  for (const path of alone) {
    expect(travelsAlone(path, 'auth'), path).toBe(true)
    expect(path).toMatch(new RegExp(recipe))
  }
  expect(['guarded', 'auth.me', 'auth.sessions.list', 'auth.users.createAll'].filter((path) => new RegExp(recipe).test(path))).toEqual([])
})

const jar = (now = () => 0) => createCookieJar({ name: '__Host-session', origin: 'https://a.example', store: null, now })

describe('the jar', () => {
  const line = `__Host-session=${TOKEN}; Path=/; Secure; HttpOnly; SameSite=Lax`

  test.each([
    ['of another name', line.replace('__Host-session', 'sid')],
    ['with a domain', `${line}; Domain=a.example`],
    ['without Secure', line.replace(' Secure;', '')],
    ['of another path', line.replace('Path=/', 'Path=/x')],
    ['that is huge', line.replace(TOKEN, 'A'.repeat(5000))],
    ['that is nonsense', '=;;=;'],
  ])('CL-1 CL-8: a cookie %s is not kept', async (_name, text) => {
    const cookies = jar()
    await cookies.receive([text], null)
    expect(await cookies.read()).toBe(null)
  })

  test('a cookie is kept byte for byte until it is deleted or too old', async () => {
    let now = 0
    const cookies = jar(() => now)
    await cookies.receive([line.replace(TOKEN, '%41%42')], null)
    expect(await cookies.read()).toBe('%41%42')
    await cookies.receive([`${line}; Max-Age=10`], '%41%42')
    now = 9999
    expect(await cookies.read()).toBe(TOKEN)
    now = 10_000
    expect(await cookies.read()).toBe(null)
  })

  test('a deletion that answers an older cookie is ignored', async () => {
    const cookies = jar()
    await cookies.receive([line], null)
    await cookies.receive(['__Host-session=; Max-Age=0; Path=/; Secure'], 'older')
    expect(await cookies.read()).toBe(TOKEN)
    await cookies.receive(['__Host-session=; Max-Age=0; Path=/; Secure'], TOKEN)
    expect(await cookies.read()).toBe(null)
  })

  test('CL-4: nothing that is printed shows the token', async () => {
    await using server = await startServer()
    const tokens: string[] = []
    const store = {
      load: async () => null,
      save: async (_: string, cookie: { value: string } | null) => void (cookie && tokens.push(cookie.value)),
    }
    const client = await server.signIn('ada', { store })
    const error: unknown = await client.api.fails.query().catch((thrown: unknown) => thrown)
    expect(tokens).toHaveLength(1)
    for (const thing of [client, client.session, error]) {
      const printed = [inspect(thing, { depth: 10, showHidden: true }), JSON.stringify(thing), String(thing)].join()
      expect(printed).not.toContain(tokens[0])
    }
  })
})

function storePath(): string {
  const dir = mkdtempSync(join(tmpdir(), 'trpc-login-store-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return join(dir, 'inner', 'cookies.json')
}

describe('the file store', () => {
  const cookie = { value: TOKEN, expiresAt: null }

  test('a second client goes on with the session of the first, and a logout holds for both', async () => {
    await using server = await startServer()
    const path = storePath()
    const first = await server.signIn('ada', { store: fileStore(path) })
    await first.close()
    const second = server.client({ store: fileStore(path) })
    expect(await second.api.guarded.query()).toBe('ada')
    expect((await second.session.refresh())?.user.username).toBe('ada')
    await second.api.auth.logout.mutate()
    expect(await reason(server.client({ store: fileStore(path) }).api.guarded.query())).toBe('not_signed_in')
  })

  test('CL-3: the file and its directory are the owner’s alone, and nothing half-written stays', async () => {
    const path = storePath()
    await fileStore(path).save('https://a.example', cookie)
    expect([statSync(path).mode & 0o777, statSync(join(path, '..')).mode & 0o777]).toEqual([0o600, 0o700])
    expect(existsSync(`${path}.lock`)).toBe(false)
    expect(await fileStore(path).load('https://a.example')).toEqual(cookie)
    expect(await fileStore(path).load('https://a.example:444')).toBe(null)
  })

  test('CL-3: links, files that others can read, and damaged ones are refused with the remedy', async () => {
    const path = storePath()
    await fileStore(path).save('https://a.example', cookie)
    const link = `${path}.link`
    symlinkSync(path, link)
    await expect(fileStore(link).load('https://a.example')).rejects.toThrow('symbolic link')
    await expect(fileStore(link).save('https://a.example', cookie)).rejects.toThrow('symbolic link')
    writeFileSync(path, '{"https://a')
    await expect(fileStore(path).load('https://a.example')).rejects.toThrow('remove it and sign in again')
    chmodSync(path, 0o644)
    await expect(fileStore(path).load('https://a.example')).rejects.toThrow(`chmod 600 ${path}`)
  })

  test('CL-3: of 20 that save different origins at once, none is lost', async () => {
    const path = storePath()
    await Promise.all(Array.from({ length: 20 }, (_, index) => fileStore(path).save(`https://a${index}.example`, cookie)))
    expect(Object.keys(JSON.parse(readFileSync(path, 'utf8')) as object)).toHaveLength(20)
  })

  test('an expired cookie is not sent', async () => {
    await using server = await startServer()
    const path = storePath()
    let now = Date.now()
    const options = { store: fileStore(path), now: () => now, remember: true }
    const { api } = await server.signIn('ada', options)
    now += 31 * DAY
    expect(await reason(api.guarded.query())).toBe('not_signed_in')
  })
})

test('the SDK’s main entry runs under plain Node with no condition set but its own', () => {
  const code = "import('@trpc-login/client').then((m) => console.log(typeof m.createClient))"
  const { stdout, stderr } = spawnSync(process.execPath, ['--conditions=@trpc-login/source', '--input-type=module', '-e', code], {
    cwd: import.meta.dirname,
    encoding: 'utf8',
  })
  expect([stdout.trim(), stderr]).toEqual(['function', ''])
})
