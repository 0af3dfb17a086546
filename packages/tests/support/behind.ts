import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { connect as connectTcp, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { initTRPC } from '@trpc/server'
import {
  type AuthContext,
  type AuthOptions,
  type ContextRequest,
  createAuth,
  formatAuthError,
  type NewUser,
  type Storage,
  sqliteStorage,
  transformer,
} from '@trpc-login/server'
import { z } from 'zod'
import { createDirectPath } from '../../server/src/http/direct.ts'
import { createServerWith } from '../../server/src/http/server.ts'
import { ADAPTER_NAMES, ADAPTERS, type AdapterName, type Mounted } from './adapters.ts'
import { type RawRequest, writeRequest } from './raw-http.ts'
import { createClock, createMemoryLog, PASSWORD } from './server.ts'

/** Where an application may run: our server with its direct path and with tRPC's handler alone, and tRPC's adapters. */
export const PLACES = ['ours', 'ours without the direct path', ...ADAPTER_NAMES] as const
export type Place = (typeof PLACES)[number]

const MANY = { failuresPerAddress: 10_000, callsPerAddress: 10_000, signUpsPerAddress: 10_000 }

export interface BehindOptions extends Omit<AuthOptions<'editor'>, 'storage' | 'now' | 'log' | 'roles'> {
  readonly wrapStorage?: (storage: Storage) => Storage
  readonly responseMeta?: Mounted['responseMeta']
  /** The ip that the application finds for a request. */
  readonly ip?: (request: ContextRequest) => string | null
  /** What the application does for its context, before or after ours is made. */
  readonly context?: (request: ContextRequest, make: () => AuthContext) => AuthContext | Promise<AuthContext>
}

/** What was done by those that a guard let in. */
export type Acts = string[]

function createProbeRouter(auth: ReturnType<typeof createProbeAuth>['auth'], acts: Acts) {
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const act = (name: string) => (acts.push(name), name)
  return t.router({
    auth: auth.router,
    open: t.procedure.input(z.any()).mutation(() => 'open'),
    echoes: t.procedure.input(z.any()).mutation(({ input }): unknown => input),
    readsBack: t.procedure.input(z.any()).query(({ input }): unknown => input),
    asksAtOnce: t.procedure.mutation(async ({ ctx }) => (await ctx.auth.signedIn())?.user.username ?? 'nobody'),
    /** A guard by hand, as applications write them. */
    asks: t.procedure.input(z.any()).mutation(async ({ ctx }) => ((await ctx.auth.signedIn()) === null ? 'nobody' : act('asks'))),
    readsAsUser: t.procedure
      .concat(auth.requireUser)
      .input(z.any())
      .query(() => act('readsAsUser')),
    writesAsUser: t.procedure
      .concat(auth.requireUser)
      .input(z.any())
      .mutation(() => act('writesAsUser')),
    writesUnread: t.procedure.concat(auth.requireUser).mutation(() => act('writesUnread')),
    writesAsEditor: t.procedure
      .concat(auth.requireRole('editor'))
      .input(z.any())
      .mutation(() => act('writesAsEditor')),
    readsAsEditor: t.procedure
      .concat(auth.requireRole('editor'))
      .input(z.any())
      .query(() => act('readsAsEditor')),
    writesFresh: t.procedure
      .concat(auth.requireFresh())
      .input(z.any())
      .mutation(() => act('writesFresh')),
    ticksAsEditor: t.procedure.concat(auth.requireRole('editor')).subscription(async function* ({ signal }) {
      act('ticksAsEditor')
      yield 1
      await new Promise((resolve) => signal?.addEventListener('abort', resolve))
    }),
  })
}

function createProbeAuth({ wrapStorage = (same) => same, ...options }: Omit<BehindOptions, 'responseMeta' | 'context' | 'ip'>) {
  const clock = createClock()
  const { log, lines } = createMemoryLog()
  const storage = wrapStorage(sqliteStorage({ path: ':memory:' }))
  const auth = createAuth({ limits: MANY, ...options, roles: ['editor'], now: clock.now, storage, log })
  return { auth, clock, lines }
}

export type Behind = Awaited<ReturnType<typeof startBehind>>

/** One application, wherever it may run, and callers that know it over HTTP alone. */
export async function startBehind(place: Place, given: BehindOptions = {}) {
  const { context = (_request, make) => make(), responseMeta, ip, ...options } = given
  const { auth, clock, lines } = createProbeAuth(options)
  const acts: Acts = []
  const asked = { contexts: 0 }
  const router = createProbeRouter(auth, acts)
  const createContext = (request: ContextRequest) => {
    asked.contexts += 1
    return context(request, () => auth.createContext(request, ip && { ip: ip(request) }))
  }
  const home = mkdtempSync(join(tmpdir(), 'trpc-login-behind-'))
  const mounted: Mounted = { router, createContext, allowMethodOverride: true, ...(responseMeta && { responseMeta }) }
  const listening = isOurs(place)
    ? await createServerWith(place === 'ours' ? createDirectPath : () => () => false, {
        auth,
        router,
        createContext,
        port: 0,
        tls: { developmentDir: home },
        basePath: '/trpc/',
      })
    : await ADAPTERS[place](mounted)
  const ca = 'caFile' in listening ? readFileSync(String(listening.caFile), 'utf8') : null
  await auth.users.create({ username: 'ada', password: PASSWORD, roles: ['editor'] })
  await auth.users.create({ username: 'bob', password: PASSWORD })
  const { port } = listening

  function open(): Socket {
    const socket = ca === null ? connectTcp(port, '127.0.0.1') : connectTls({ host: '127.0.0.1', port, ca })
    socket.setNoDelay()
    return socket
  }

  /** Sends a request but its last byte; what is sent later ends it. */
  async function hold(request: RawRequest) {
    const bytes = writeRequest({ ...request, target: `/trpc/${request.target}`, headers: { connection: 'close', ...request.headers } })
    const before = asked.contexts
    const socket = open()
    let text = ''
    const whole = new Promise<string>((resolve) => {
      socket.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      socket.on('close', () => resolve(text)).on('error', () => {})
    })
    socket.write(bytes.subarray(0, -1))
    return {
      /** Whether the application has been asked for a context, or has had the time for it. */
      async begun(): Promise<void> {
        const until = performance.now() + 25
        while (asked.contexts === before && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 3))
      },
      /** What comes although the last byte does not. */
      answer: whole.then(readReply),
      async finish(): Promise<RawReply> {
        socket.write(bytes.subarray(-1))
        return readReply(await whole)
      },
    }
  }

  /** The beginning of an answer that has no end, and leaves then. */
  async function begin(request: RawRequest): Promise<string> {
    const socket = open()
    socket.write(writeRequest({ ...request, target: `/trpc/${request.target}` }))
    let text = ''
    for await (const chunk of socket.setEncoding('utf8')) {
      text += String(chunk)
      // The second of two reasons, or of two events, says what became of it.
      if (/data: |"reason":/.test(text)) break
    }
    socket.destroy()
    return text
  }

  async function call(request: RawRequest): Promise<RawReply> {
    return (await hold(request)).finish()
  }

  return {
    auth,
    router,
    clock,
    lines,
    acts,
    port,
    hold,
    call,
    begin,
    /** A mutation as plain JSON, answered in kind. */
    post: (path: string, body: unknown, headers: Record<string, string> = {}) =>
      call({
        method: 'POST',
        target: path,
        headers: { 'content-type': 'application/json', accept: 'application/json', ...headers },
        body: JSON.stringify(body),
      }),
    get: (path: string, headers: Record<string, string> = {}) =>
      call({ target: path, headers: { accept: 'application/json', ...headers } }),
    /** Somebody new, signed in without a password that would have to be hashed. */
    async enter(user: Partial<NewUser> & { username: string }) {
      const record = await auth.users.create(user)
      const resHeaders = new Headers()
      const { session } = await auth.createContext({ req: { headers: {} }, resHeaders }).auth.login(record)
      return { id: record.id, sessionId: session.id, cookie: resHeaders.getSetCookie()[0]?.split(';', 1)[0] ?? '' }
    },
    async signIn(username = 'ada'): Promise<string> {
      const { cookies } = await this.post('auth.login', { username, password: PASSWORD })
      return cookies[0]?.split(';', 1)[0] ?? ''
    },
    async [Symbol.asyncDispose]() {
      await listening.close()
      if (!isOurs(place)) await auth.close()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

function isOurs(place: Place): place is Exclude<Place, AdapterName> {
  return place.startsWith('ours')
}

/** An answer of HTTP/1.1, as its bytes say. */
export interface RawReply {
  readonly status: number
  readonly headers: Headers
  readonly cookies: string[]
  readonly body: string
  /** The reasons in the answer, one for each call that failed. */
  readonly reasons: string[]
}

function readReply(text: string): RawReply {
  const end = text.indexOf('\r\n\r\n')
  const [line = '', ...fields] = text.slice(0, end).split('\r\n')
  const headers = new Headers(
    fields.map((field): [string, string] => [field.slice(0, field.indexOf(':')), field.slice(field.indexOf(':') + 1).trim()]),
  )
  const rest = text.slice(end + 4)
  const body = headers.get('transfer-encoding') === 'chunked' ? unchunk(rest) : rest
  return {
    status: Number(line.split(' ')[1] ?? 0),
    headers,
    cookies: headers.getSetCookie(),
    body,
    reasons: [...body.matchAll(/"reason":"(\w+)"/g)].map(([, reason]) => reason ?? ''),
  }
}

function unchunk(text: string): string {
  let body = ''
  for (let rest = text; rest !== ''; ) {
    const end = rest.indexOf('\r\n')
    const length = Number.parseInt(rest.slice(0, end), 16)
    if (!(length > 0)) return body
    body += rest.slice(end + 2, end + 2 + length)
    rest = rest.slice(end + 2 + length + 2)
  }
  return body
}
