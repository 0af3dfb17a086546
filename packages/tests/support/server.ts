import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setInterval } from 'node:timers/promises'
import { initTRPC } from '@trpc/server'
import { observable } from '@trpc/server/observable'
import { createClient, type NodeClientOptions } from '@trpc-login/client/node'
import {
  type Auth,
  type AuthContext,
  type AuthOptions,
  createAuth,
  createServer,
  formatAuthError,
  type Log,
  type NewUser,
  type ServerOptions,
  type Storage,
  sqliteStorage,
  transformer,
} from '@trpc-login/server'
import { Agent, type RequestInit, type Response, fetch as undiciFetch } from 'undici'
import { z } from 'zod'

export const PASSWORD = 'correct horse battery'
const USERS = ['ada', 'bob']
// Tests have one address and a clock that stands still; those about limits set their own.
const MANY = { failuresPerAddress: 10_000, callsPerAddress: 10_000, signUpsPerAddress: 10_000 }

/** What is open now of the streams below. */
export const openStreams = { generators: 0, observables: 0 }

/** Says that it began, and then waits for something that never comes. */
async function* waitForever({ signal }: { signal?: AbortSignal | undefined }) {
  openStreams.generators += 1
  try {
    yield 'started'
    await new Promise((resolve) => signal?.addEventListener('abort', resolve))
  } finally {
    openStreams.generators -= 1
  }
}

async function* tickForever() {
  openStreams.generators += 1
  try {
    for await (const tick of setInterval(20, 'tick')) yield tick
  } finally {
    openStreams.generators -= 1
  }
}

/** The application under test: the sample's two functions, one that ticks, and the auth router. */
export function createAppRouter(auth: Auth) {
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const anyObject = z.record(z.string(), z.json())
  return t.router({
    auth: auth.router,
    notauthFunc: t.procedure.input(anyObject).mutation(({ input }) => ({ ok: true, msg: `notauth_func(${JSON.stringify(input)})` })),
    authFunc: t.procedure
      .concat(auth.requireUser)
      .input(anyObject)
      .mutation(({ ctx, input }) => ({ ok: true, msg: `auth_func(${JSON.stringify(input)}),user_id=${ctx.user.username}` })),
    open: t.procedure.query(() => ({ at: new Date(0) })),
    guarded: t.procedure.concat(auth.requireUser).query(({ ctx }) => ctx.user.username),
    fresh: t.procedure.concat(auth.requireFresh()).query(({ ctx }) => ctx.user.username),
    admin: t.procedure.concat(auth.requireRole('admin')).query(({ ctx }) => ctx.user.username),
    stacked: t.procedure
      .concat(auth.requireUser)
      .concat(auth.requireFresh())
      .concat(auth.requireRole('admin'))
      .query(({ ctx }) => ctx.user.username),
    /** Takes the role away between two guards, as somebody else may while a middleware waits. */
    waitsBetween: t.procedure
      .concat(auth.requireUser)
      .use(async ({ ctx, next }) => {
        await auth.users.update(ctx.user.id, { roles: [] })
        await new Promise((resolve) => setTimeout(resolve, 5))
        return next()
      })
      .concat(auth.requireRole('admin'))
      .mutation(({ ctx }) => ctx.user.username),
    fails: t.procedure.query(() => {
      throw new Error('select * from secrets at /etc/hidden')
    }),
    waits: t.procedure.concat(auth.requireUser).subscription(waitForever),
    /** A query may answer with a stream too, in a batch that is streamed. */
    streams: t.procedure.concat(auth.requireUser).query(tickForever),
    waitsAsAdmin: t.procedure.concat(auth.requireRole('admin')).subscription(waitForever),
    observes: t.procedure.concat(auth.requireUser).subscription(() =>
      observable<string>((observer) => {
        observer.next('started')
        openStreams.observables += 1
        return () => {
          openStreams.observables -= 1
        }
      }),
    ),
    counts: t.procedure
      .concat(auth.requireUser)
      .input(z.object({ to: z.number() }))
      .subscription(async function* ({ input }) {
        for (let n = 0; n < input.to; n += 1) yield n
      }),
    ticks: t.procedure.concat(auth.requireUser).subscription(async function* ({ ctx }) {
      for (let n = 0; n < 3; n += 1) yield { n, at: new Date(n), username: ctx.user.username }
    }),
  })
}
export type AppRouter = ReturnType<typeof createAppRouter>

export interface TestServerOptions extends Omit<AuthOptions, 'storage' | 'now'> {
  /** An existing directory, kept afterwards. */
  dir?: string
  /** @default a file of its own */
  storage?: Storage
  wrapStorage?: (storage: Storage) => Storage
  server?: Partial<Pick<ServerOptions<AppRouter>, 'host' | 'port' | 'origins' | 'baseUrl' | 'basePath' | 'maxConnectionsPerAddress'>>
}

export interface LogLine {
  level: string
  event: string
  fields: Record<string, unknown>
}

export type TestServer = Awaited<ReturnType<typeof startServer>>

/** A real HTTPS server on a real database file, with a clock that the test sets; it cleans up after itself. */
export async function startServer(given: TestServerOptions = {}) {
  const { dir, storage, wrapStorage = (same) => same, server: serverOptions = {}, ...options } = given
  const home = dir ?? mkdtempSync(join(tmpdir(), 'trpc-login-'))
  const file = join(home, 'login.db')
  const clock = createClock()
  const { log, lines } = createMemoryLog()
  const store = wrapStorage(storage ?? sqliteStorage({ path: file }))
  const auth = createAuth({ log, limits: MANY, ...options, now: clock.now, storage: store })
  for (const username of USERS)
    if ((await auth.users.findByUsername(username)) === null) await auth.users.create({ username, password: PASSWORD })
  const running = await createServer({
    auth,
    router: createAppRouter(auth),
    host: '127.0.0.1',
    port: 0,
    tls: { developmentDir: home },
    ...serverOptions,
  })
  const ca = readFileSync(running.caFile ?? '', 'utf8')
  const agent = new Agent({ connect: { ca } })
  const closers: (() => Promise<void>)[] = []

  const client = (extra: Partial<NodeClientOptions<AppRouter>> = {}) => {
    const made = createClient<AppRouter>({ url: running.url, ca, ...extra })
    closers.push(made.close)
    return made
  }

  return {
    ...running,
    auth,
    clock,
    dir: home,
    file,
    ca,
    lines,
    client,
    /** A client of its own, signed in. */
    async signIn(username = 'ada', { remember = false, ...extra }: Partial<NodeClientOptions<AppRouter>> & { remember?: boolean } = {}) {
      const made = client(extra)
      await made.api.auth.login.mutate({ username, password: PASSWORD, remember })
      return made
    },
    addUser: (user: Partial<NewUser> & { username: string }) => auth.users.create({ password: PASSWORD, ...user }),
    /** Plain HTTP, for what the SDK would never send. */
    fetch: (path: string, init: RequestInit = {}): Promise<Response> =>
      undiciFetch(`${running.url}${path}`, { ...init, dispatcher: agent }),
    /** A plain JSON call as curl would make it. */
    async post(path: string, body: unknown, headers: Record<string, string> = {}) {
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      const response = await undiciFetch(`${running.url}/api/${path}`, {
        method: 'POST',
        body: text,
        headers: { 'content-type': 'application/json', accept: 'application/json', ...headers },
        dispatcher: agent,
      })
      return { status: response.status, headers: response.headers, body: (await response.json()) as Answer }
    },
    async [Symbol.asyncDispose]() {
      for (const close of closers) await close()
      await agent.destroy()
      await running.close()
      if (dir === undefined) rmSync(home, { recursive: true, force: true })
    },
  }
}

/** A tRPC answer in plain JSON, as loosely as a foreign caller sees it. */
export interface Answer {
  result?: { data: never }
  error?: {
    message: string
    code: number
    data: {
      code: string
      httpStatus: number
      path?: string
      reason: string
      requestId: string
      retryAfter?: number
      issues?: { path: (string | number)[]; message: string }[]
      stack?: string
    }
  }
}

export function createClock() {
  let time = Date.now()
  return {
    now: () => time,
    advance(ms: number) {
      time += ms
    },
  }
}

export function createMemoryLog(): { log: Log; lines: LogLine[] } {
  const lines: LogLine[] = []
  const at = (level: string) => (fields: Record<string, unknown>, event: string) => void lines.push({ level, event, fields })
  return { log: { info: at('info'), warn: at('warn'), error: at('error') }, lines }
}

/** The `name=value` part of the session cookie that an answer sets. */
export function cookieOf(headers: { getSetCookie(): string[] }): string {
  return (
    headers
      .getSetCookie()
      .find((line) => line.startsWith('__Host-session='))
      ?.split(';', 1)[0] ?? ''
  )
}

export const MINUTE = 60_000
export const HOUR = 60 * MINUTE
export const DAY = 24 * HOUR
