import { readFileSync } from 'node:fs'
import { createTRPCClient, httpBatchLink, httpBatchStreamLink, httpLink, TRPCClientError } from '@trpc/client'
import { initTRPC } from '@trpc/server'
import { createClient, reasonOf } from '@trpc-login/client/node'
import { type AuthContext, createServer, formatAuthError, transformer } from '@trpc-login/server'
import { createTestAuth } from '@trpc-login/server/testing'
import superjson from 'superjson'
import { Agent, type RequestInit as UndiciInit, fetch as undiciFetch } from 'undici'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { temporaryDirectory } from '../support/process.ts'

/** How an application sets tRPC up. */
const STYLES = {
  ours: { transformer, errorFormatter: formatAuthError },
  'superjson of its own': { transformer: superjson, errorFormatter: formatAuthError },
  'a formatter of its own': {
    transformer,
    errorFormatter: (opts: Parameters<typeof formatAuthError>[0]) => ({ ...formatAuthError(opts), extra: 'own' }),
  },
  bare: {},
  broken: {
    errorFormatter() {
      throw new Error('the formatter fails')
    },
  },
}
type Style = keyof typeof STYLES

async function start(style: Style, basePath: string) {
  const auth = createTestAuth()
  const t = initTRPC.context<AuthContext>().create(STYLES[style] as (typeof STYLES)['ours'])
  const router = t.router({
    auth: auth.router,
    reads: t.procedure.input(z.any()).query(() => new Date(0)),
    writes: t.procedure.input(z.any()).mutation(() => new Date(0)),
  })
  const server = await createServer({ auth, router, basePath, port: 0, tls: { developmentDir: temporaryDirectory() } })
  const ca = readFileSync(server.caFile ?? '', 'utf8')
  const agent = new Agent({ connect: { ca } })
  const base = `${server.url}${basePath === '/' ? '' : basePath.replace(/\/$/, '')}`
  return {
    router,
    base,
    basePath,
    server,
    ca,
    /** A `fetch` that changes what it is given. */
    fetchWith:
      (change: (url: string, init: RequestInit) => [string, RequestInit]) => async (input: unknown, init: RequestInit | undefined) => {
        const [url, changed] = change(String(input), init ?? {})
        return (await undiciFetch(url, { ...changed, dispatcher: agent } as UndiciInit)) as unknown as Response
      },
    async [Symbol.asyncDispose]() {
      await agent.destroy()
      await server.close()
    },
  }
}
type Started = Awaited<ReturnType<typeof start>>
type Change = Parameters<Started['fetchWith']>[0]
interface Calls {
  reads: { query(input?: unknown): Promise<unknown> }
  writes: { mutate(input?: unknown): Promise<unknown> }
}

const same: Change = (url, init) => [url, init]
const withHeader =
  (name: string, value: string): Change =>
  (url, init) => [url, { ...init, headers: { ...Object.fromEntries(new Headers(init.headers)), [name]: value } }]
const twoOf = async (calls: Promise<unknown>[]) => (await Promise.all(calls))[0]

/** Each refusal of the gate, as a client can meet it. */
const REFUSALS: Readonly<
  Record<string, { status: number; reason: string | null; message: RegExp; change?: Change; call?: (api: Calls) => Promise<unknown> }>
> = {
  'another origin': {
    status: 403,
    reason: 'origin_refused',
    message: /origin/,
    change: withHeader('origin', 'https://evil.example'),
  },
  'another origin, writing': {
    status: 403,
    reason: 'origin_refused',
    message: /origin/,
    change: withHeader('origin', 'https://evil.example'),
    call: (api) => twoOf([api.writes.mutate({}), api.writes.mutate({})]),
  },
  'another spelling': {
    status: 404,
    reason: 'not_found',
    message: /Not found/,
    change: (url, init) => [url.replace('reads', '%72eads'), init],
  },
  'another method': { status: 405, reason: null, message: /Use GET/, change: (url, init) => [url, { ...init, method: 'DELETE' }] },
  'a body that is too long': {
    status: 413,
    reason: 'invalid_input',
    message: /at most 65536 bytes/,
    call: (api) => twoOf([api.writes.mutate('x'.repeat(70_000)), api.writes.mutate('y')]),
  },
  'a URL that is too long': {
    status: 414,
    reason: 'invalid_input',
    message: /at most 8192/,
    call: (api) => api.reads.query('x'.repeat(9000)),
  },
  'another content type': {
    status: 415,
    reason: 'invalid_input',
    message: /application\/json/,
    change: withHeader('content-type', 'text/plain'),
    call: (api) => api.writes.mutate({}),
  },
  'a compressed body': {
    status: 415,
    reason: 'invalid_input',
    message: /content-encoding/,
    change: withHeader('content-encoding', 'gzip'),
    call: (api) => api.writes.mutate({}),
  },
}

const LINKS = { httpLink, httpBatchLink, httpBatchStreamLink }

function stockClient(app: Started, link: keyof typeof LINKS, style: Style, change: Change): Calls {
  const options = {
    url: app.base,
    fetch: app.fetchWith(change),
    ...(style === 'bare' || style === 'broken' ? {} : { transformer: superjson }),
  }
  const make = LINKS[link] as unknown as (options: object) => ReturnType<typeof httpLink>
  return createTRPCClient<Started['router']>({ links: [make(options)] })
}

async function failureOf(call: Promise<unknown>): Promise<TRPCClientError<Started['router']>> {
  const error: unknown = await call.then(
    (value) => new Error(`answered ${JSON.stringify(value)}`),
    (cause: unknown) => cause,
  )
  if (error instanceof TRPCClientError) return error
  throw error
}

test.each(Object.keys(STYLES) as Style[])(
  "TL-2 %s: tRPC's own clients read reason and message of each refusal of the gate",
  async (style) => {
    await using app = await start(style, '/api/')
    for (const link of Object.keys(LINKS) as (keyof typeof LINKS)[]) {
      for (const [name, { status, reason, message, change = same, call = (api: Calls) => api.reads.query() }] of Object.entries(REFUSALS)) {
        const error = await failureOf(call(stockClient(app, link, style, change)))
        const data = error.data as { httpStatus?: number; reason?: string | null; requestId?: string } | undefined
        expect([link, name, error.message]).toEqual([link, name, expect.stringMatching(message)])
        expect([link, name, data?.httpStatus]).toEqual([link, name, status])
        if (style !== 'bare') expect([link, name, reasonOf(error)]).toEqual([link, name, reason])
        if (style === 'a formatter of its own') expect(error.shape).toMatchObject({ extra: 'own' })
      }
    }
  },
)

test('TL-2: what tRPC refuses before a call runs is JSON by its type too, and in the form of the application', async () => {
  await using app = await start('ours', '/api/')
  const get = (path: string, headers: Record<string, string> = {}) => app.fetchWith(same)(`${app.base}/${path}`, { headers })
  for (const [path, headers] of [
    [`${Array.from({ length: 11 }, () => 'reads').join()}?batch=1`, {}],
    ['reads,writes?batch=1', {}],
    ['reads', { 'trpc-accept': 'application/jsonl' }],
    ['reads?connectionParams=nonsense', {}],
  ] as const) {
    const response = await get(path, headers)
    const body = (await response.json()) as { error: { json: { data: { reason: string } } } }
    expect([path, response.status, response.headers.get('content-type')]).toEqual([path, 400, 'application/json; charset=utf-8'])
    expect([path, body.error.json.data.reason]).toEqual([path, 'invalid_input'])
  }
})

/** Refusals of whole batches, of which some name no calls, too many or such as do not go together. */
const REFUSED_BATCHES: readonly (readonly [string, Change, number, readonly [string | null, string]])[] = [
  ['another origin', withHeader('origin', 'https://evil.example'), 2, ['origin_refused', 'Requests from this origin are not allowed']],
  ['another spelling', (url, init) => [url.replace('/api/', '/api//'), init], 2, ['not_found', 'Not found']],
  ['a path that is none', (url, init) => [url.replace('/api/', '/nope/'), init], 2, ['not_found', 'Not found']],
  ['eleven calls', same, 11, ['invalid_input', 'Batch call exceeds maximum size']],
  [
    'eleven calls of another origin',
    withHeader('origin', 'https://evil.example'),
    11,
    ['origin_refused', 'Requests from this origin are not allowed'],
  ],
  [
    'calls of two kinds',
    (url, init) => [url.replace(/reads(?=\?)/, 'writes'), init],
    2,
    ['invalid_input', 'Cannot mix procedure types in call: query, mutation'],
  ],
]

test.each(['httpBatchLink', 'httpBatchStreamLink'] as const)(
  'IN-1: each call of a batch that is refused as one is told why, by %s',
  async (link) => {
    await using app = await start('ours', '/api/')
    for (const [name, change, count, told] of REFUSED_BATCHES) {
      const api = stockClient(app, link, 'ours', change)
      const errors = await Promise.all(Array.from({ length: count }, () => failureOf(api.reads.query())))
      expect([name, ...errors.map((error) => [reasonOf(error), error.message])]).toEqual([name, ...errors.map(() => told)])
    }
  },
)

const error = (path: string) => ({ data: expect.objectContaining({ reason: 'origin_refused', path, httpStatus: 403 }) })

test('a refusal is plain for who asks for plain JSON, and one for each call of a batch', async () => {
  await using app = await start('ours', '/api/')
  const refused = async (path: string, headers: Record<string, string> = {}) =>
    (await (
      await app.fetchWith(same)(`${app.base}/${path}`, { headers: { origin: 'https://evil.example', ...headers } })
    ).json()) as unknown
  expect(await refused('reads', { accept: 'application/json' })).toMatchObject({ error: error('reads') })
  expect(await refused('reads')).toMatchObject({ error: { json: error('reads') } })
  expect(await refused('reads,auth.me?batch=1')).toMatchObject([{ error: { json: error('reads') } }, { error: { json: error('auth.me') } }])
  expect(await refused('reads?batch=1', { accept: 'application/json' })).toMatchObject([{ error: error('reads') }])
  expect(await refused('reads?batch=1', { 'trpc-accept': 'application/jsonl' })).toMatchObject({ error: { json: error('reads') } })
})

test.each(['/', '/trpc', '/api'])(
  "a server at %s is called by the SDK and by each of tRPC's clients, and both read its refusals",
  async (basePath) => {
    await using app = await start('ours', basePath)
    for (const link of Object.keys(LINKS) as (keyof typeof LINKS)[]) {
      const api = stockClient(app, link, 'ours', same)
      expect(await Promise.all([api.reads.query(), api.reads.query({ a: 1 })])).toEqual([new Date(0), new Date(0)])
      expect(await api.writes.mutate({})).toEqual(new Date(0))
    }
    const at = basePath === '/' ? { url: app.server.url, basePath } : { url: app.base }
    const { api, close } = createClient<Started['router']>({ ...at, ca: app.ca })
    expect(await Promise.all([api.reads.query(undefined), api.reads.query(1)])).toEqual([new Date(0), new Date(0)])
    expect(await api.auth.me.query()).toBe(null)
    const tooLong = await failureOf(api.writes.mutate('x'.repeat(70_000)))
    expect([reasonOf(tooLong), tooLong.message]).toEqual(['invalid_input', expect.stringContaining('at most 65536 bytes')])
    await close()
    const elsewhere = createClient<Started['router']>({ ...at, ca: app.ca, headers: { origin: 'https://evil.example' } })
    expect(reasonOf(await failureOf(elsewhere.api.reads.query(1)))).toBe('origin_refused')
    expect(reasonOf(await failureOf(elsewhere.api.auth.login.mutate({ username: 'ada', password: 'x' })))).toBe('origin_refused')
    const events = await new Promise((resolve, reject) =>
      elsewhere.api.auth.events.subscribe(undefined, { onData: reject, onError: resolve }),
    )
    expect(reasonOf(events)).toBe('origin_refused')
    await elsewhere.close()
  },
)
