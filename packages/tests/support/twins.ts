import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { initTRPC, lazy, TRPCError } from '@trpc/server'
import type { CreateHTTPContextOptions } from '@trpc/server/adapters/standalone'
import { type AuthContext, AuthError, createAuth, formatAuthError, sqliteStorage, transformer } from '@trpc-login/server'
import { z } from 'zod'
import { createDirectPath } from '../../server/src/http/direct.ts'
import { createServerWith } from '../../server/src/http/server.ts'
import { createRawCaller, type RawAnswer, type RawRequest, writeRequest } from './raw-http.ts'
import { createMemoryLog, PASSWORD } from './server.ts'

const NOW = Date.UTC(2026, 0, 2, 3, 4, 5)
const MANY = { failuresPerAddress: 1e9, callsPerAddress: 1e9, signUpsPerAddress: 1e9 }

/** How an application sets tRPC up. */
export const STYLES = ['ours', 'bare', 'hostile'] as const
export type Style = (typeof STYLES)[number]

interface Context extends AuthContext {
  readonly seen: unknown
  readonly res: CreateHTTPContextOptions['res']
}

/** All that an application may read of a request before its calls run. */
async function createContext({ req, res, info }: CreateHTTPContextOptions) {
  const { accept, type, isBatchCall, calls, connectionParams, signal, url } = info
  if (req.headers['x-context'] === 'fails') throw new Error('no context')
  if (req.headers['x-context'] === 'refuses') throw new AuthError('rate_limited', { retryAfter: 7 })
  if (req.headers['x-context'] === 'status') res.statusCode = 418
  if (req.headers['x-context'] === 'header') res.setHeader('Cache-Control', 'private').setHeader('X-Mine', ['a', 'b'])
  const early = req.headers['x-context'] === 'reads' ? await Promise.allSettled(calls.map((call) => call.getRawInput())) : []
  const seen = {
    accept,
    type,
    isBatchCall,
    connectionParams,
    aborted: signal.aborted,
    url: url?.href,
    early: early.map(({ status }) => status),
    calls: calls.map(({ path, batchIndex, procedure, result }) => ({
      path,
      batchIndex,
      known: typeof result(),
      type: procedure?._def.type,
    })),
  }
  return { seen, res }
}

function createTrpc(style: Style) {
  const t = initTRPC.context<Context>()
  // Without stacks, which name the files that were passed through.
  const ours = t.create({ isDev: false, transformer, errorFormatter: formatAuthError })
  const bare = t.create({ isDev: false })
  const hostile = t.create({
    isDev: false,
    transformer: { serialize: explodeOn('unwritable'), deserialize: explodeOn('unreadable') },
    errorFormatter: ({ shape, error }) => {
      if (error.message === 'unformattable') throw new Error('the formatter fails')
      const status = /^status (\d+)/.exec(error.message)?.[1]
      return status === undefined ? shape : { ...shape, data: { ...shape.data, httpStatus: Number(status) } }
    },
  })
  // They differ in what clients are told of their types, and no client is typed here.
  return { ours, bare: bare as unknown as typeof ours, hostile: hostile as unknown as typeof ours }[style]
}

function explodeOn(word: string) {
  return (value: unknown): unknown => {
    if (value === word) throw new TypeError(`cannot take ${word}`)
    return value
  }
}

function createRouter(style: Style, auth: ReturnType<typeof createAuth>, aborted: unknown[]) {
  const t = createTrpc(style)
  const open = t.procedure
  const circular: Record<string, unknown> = {}
  circular['self'] = circular
  const results: Record<string, unknown> = {
    nothing: undefined,
    null: null,
    date: new Date(0),
    map: new Map([['a', new Set([1n])]]),
    bigint: 1n,
    circular,
    shared: [circular, circular],
    deep: Array.from({ length: 200 }).reduce((inner) => [inner], 1),
    unicode: 'ünïcödé \u2028 \ud800 \u{1f600}',
    long: 'x'.repeat(100_000),
    numbers: [-0, Number.NaN, Number.POSITIVE_INFINITY, 1e21],
    holes: [undefined, undefined, 3],
    match: /(?<a>x)/.exec('x'),
    getter: Object.defineProperty({}, 'a', { enumerable: true, get: () => 1 }),
    proto: JSON.parse('{"__proto__":{"a":1}}'),
    error: new Error('as data'),
    buffer: new Uint8Array([1, 2]),
    toJSON: { toJSON: () => 'other' },
    promised: { field: Promise.resolve(1) },
    // What is taken for a promise without being one.
    thenable: { field: Object.fromEntries(['then', 'catch'].map((name) => [name, () => {}])) },
    generator: (async function* () {})(),
    iterable: { field: { async *[Symbol.asyncIterator]() {} } },
    unwritable: 'unwritable',
    function: () => 1,
  }
  const thrown: Record<string, () => unknown> = {
    error: () => new Error('a secret'),
    string: () => 'a string',
    nothing: () => undefined,
    object: () => ({ message: 'an object', code: 'NOT_FOUND' }),
    trpc: () => new TRPCError({ code: 'PAYMENT_REQUIRED', message: 'pay', cause: new Error('inner') }),
    auth: () => new AuthError('rate_limited', { retryAfter: 3 }),
    unavailable: () => new AuthError('unavailable'),
    unformattable: () => new Error('unformattable'),
    unwritable: () => new Error('unwritable'),
    status204: () => new Error('status 204'),
    status700: () => new Error('status 700'),
    status299: () => new Error('status 299'),
  }
  return t.router({
    auth: auth.router,
    date: open.query(() => new Date(0)),
    seen: open.query(({ ctx }) => ctx.seen),
    seenPost: open.input(z.any()).mutation(({ ctx, input, path }) => [ctx.seen, input, path]),
    echo: open.input(z.any()).query(({ input }) => ({ input, type: typeof input })),
    echoPost: open.input(z.any()).mutation(({ input }) => ({ input, type: typeof input })),
    strict: open.input(z.strictObject({ a: z.number(), at: z.coerce.date().optional() })).query(({ input }) => input),
    strictPost: open.input(z.strictObject({ a: z.number() })).mutation(({ input }) => input),
    twice: open
      .input(z.object({ a: z.number() }))
      .input(z.object({ b: z.number() }))
      .mutation(({ input }) => input),
    void: open.input(z.void()).mutation(() => 'void'),
    noInput: open.mutation(() => 'done'),
    result: open.input(z.string()).query(({ input }) => results[input]),
    throws: open.input(z.string()).query(({ input }) => {
      throw thrown[input]?.()
    }),
    badOutput: open.output(z.number()).query(() => 'text' as never),
    own: open
      .errors(({ shape }) => ({ ...shape, message: 'of its own' }))
      .query(() => {
        throw new Error('hidden')
      }),
    cookies: open.mutation(({ ctx }) => {
      ctx.res.appendHeader('set-cookie', 'a=1').appendHeader('set-cookie', 'b=2')
      return 'set'
    }),
    status: open.mutation(({ ctx }) => (ctx.res.statusCode = 202)),
    broken: open.mutation(({ ctx }) => (ctx.res.statusCode = 99_999)),
    ended: open.mutation(({ ctx }) => void ctx.res.end('its own answer')),
    waits: open.query(async ({ signal }) => {
      await new Promise((resolve) => signal?.addEventListener('abort', resolve))
      aborted.push([signal?.aborted, String(signal?.reason)])
    }),
    guarded: open.concat(auth.requireUser).query(({ ctx }) => ctx.user.username),
    guardedPost: open
      .concat(auth.requireUser)
      .input(z.record(z.string(), z.json()))
      .mutation(({ ctx, input }) => [ctx.user.username, input]),
    admin: open.concat(auth.requireRole('admin')).query(() => 'admin'),
    ticks: open.input(z.any()).subscription(async function* ({ input }) {
      yield { input }
      yield new Date(0)
    }),
    guardedTicks: open.concat(auth.requireUser).subscription(async function* () {
      yield 1
    }),
    nested: { deeper: { date: open.query(() => new Date(0)) }, 'odd name': open.query(() => 1), ünder: open.query(() => 2) },
    later: lazy(async () => ({ router: t.router({ date: open.query(() => new Date(0)) }) })),
  })
}

async function startTwin(style: Style, direct: typeof createDirectPath) {
  const home = mkdtempSync(join(tmpdir(), 'trpc-login-twin-'))
  const { log, lines } = createMemoryLog()
  const aborted: unknown[] = []
  const auth = createAuth({
    log,
    limits: MANY,
    now: () => NOW,
    registration: 'open',
    storage: sqliteStorage({ path: join(home, 'login.db') }),
  })
  await auth.users.create({ username: 'ada', password: PASSWORD })
  const tls = { developmentDir: home }
  const options = { auth, router: createRouter(style, auth, aborted), createContext, port: 0, tls, origins: ['https://app.example.com'] }
  const server = await createServerWith(direct, options)
  const ca = readFileSync(server.caFile ?? '', 'utf8')
  const caller = createRawCaller({ port: server.port, ca })
  const login = { username: 'ada', password: PASSWORD }
  const { head } = await caller.call(
    {
      method: 'POST',
      target: '/api/auth.login',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(login),
    },
    // A hash takes its time on a busy machine.
    20_000,
  )
  const cookie = /set-cookie: (__Host-session=[^;]+)/i.exec(head)?.[1] ?? ''
  return {
    cookie,
    async call(request: RawRequest) {
      const before = lines.length
      const headers = { ...request.headers, ...(request.headers?.['cookie'] === 'LIVE' ? { cookie } : {}) }
      const answer = await caller.call({ ...request, headers })
      const logged = lines.slice(before).map(({ event, fields }) => ({ event, path: fields['path'], error: firstLine(fields['error']) }))
      return { ...mask(answer), logged }
    },
    /** Leaves in the middle of a call; what its procedure was told. */
    async leave(request: RawRequest) {
      const leaving = connect({ host: '127.0.0.1', port: server.port, ca }, () => leaving.write(writeRequest(request)))
      setTimeout(() => leaving.destroy(), 100)
      while (aborted.length === 0) await new Promise((resolve) => setTimeout(resolve, 10))
      return aborted.splice(0)
    },
    async close() {
      caller.close()
      await server.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

export type Twins = Awaited<ReturnType<typeof startTwins>>

/** Two servers that are equal but for the path that answers: ours with its direct one, and tRPC's own handler alone. */
export async function startTwins(style: Style) {
  let taken = 0
  const direct = await startTwin(style, (options) => {
    const path = createDirectPath(options)
    return (req, res, body) => {
      const took = path(req, res, body)
      if (took) taken += 1
      return took
    }
  })
  const stock = await startTwin(style, () => () => false)
  return {
    /** How many requests the direct path took. */
    taken: () => taken,
    /** The same request to both; what must be equal of their answers. */
    async call(request: RawRequest) {
      const [ours, trpcs] = await Promise.all([direct.call(request), stock.call(request)])
      return { ours, trpcs }
    },
    async leave(request: RawRequest) {
      const [ours, trpcs] = await Promise.all([direct.leave(request), stock.leave(request)])
      return { ours, trpcs }
    },
    async [Symbol.asyncDispose]() {
      await Promise.all([direct.close(), stock.close()])
    },
  }
}

/** Takes out what is random or a time of day, and no more. */
function mask({ head, body }: RawAnswer): RawAnswer {
  const id = /\r\nx-request-id: (\S+)/i.exec(head)?.[1] ?? 'none'
  const hide = (text: string) =>
    text
      .replaceAll(id, 'REQUEST-ID')
      .replace(/\r\nDate: [^\r]+/, '\r\nDate: NOW')
      .replace(/__Host-session=[\w-]{43}/g, '__Host-session=TOKEN')
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'ID')
  return { head: hide(head), body: hide(body) }
}

function firstLine(text: unknown): string {
  return String(text).split('\n', 1)[0] ?? ''
}
