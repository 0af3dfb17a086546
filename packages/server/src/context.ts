import type { ClientAddress } from './address.ts'
import { clearedSessionCookie, readToken, SESSION_COOKIE, SIGN_IN_COOKIE, sessionCookie, signInCookie } from './cookies.ts'
import { AuthError } from './errors.ts'
import { TRANSACTION_MS } from './oauth.ts'
import { isAllowedOrigin } from './origin.ts'
import { isVetted, newRequestId, requestId } from './request-scope.ts'
import type { Live, Resolution, Session, Sessions } from './sessions.ts'
import type { SessionRecord, UserRecord } from './storage/storage.ts'
import { newToken } from './tokens.ts'
import { toUser, type User } from './users.ts'

const MAX_USER_AGENT = 300
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])

/** Who is signed in, and with which session. */
export interface SignedIn {
  readonly user: User
  readonly session: Session
}

/** What an application's context must hold for our router and guards. */
export interface AuthContext {
  readonly auth: RequestAuth
}

/** The session of one HTTP request: looked up when first asked for, and the only place that writes its cookie. */
export interface RequestAuth {
  /** The same as in errors, logs and the `x-request-id` header. */
  readonly requestId: string
  /** The caller's address behind trusted proxies, or `null` where there is none. */
  readonly address: string | null
  /** Who is signed in, or `null`. */
  signedIn(): Promise<SignedIn | null>
  /** The stored session and user, or `null`. */
  findLive(): Promise<Live | null>
  /** The stored session and user. @throws `not_signed_in`, `session_ended` */
  requireLive(): Promise<Live>
  /** Starts a session for someone whose proof of identity the caller has checked. */
  login(user: UserRecord, options?: { remember?: boolean; provider?: string }): Promise<SignedIn>
  /** Goes on with a session under its new token. */
  replace(user: UserRecord, renewed: { token: string; session: SessionRecord }): SignedIn
  /** Ends the session, if there is one. */
  logout(): Promise<void>
  /** What binds sign-ins with providers to this browser, or `null` where none has begun. */
  findSignInBinding(): string | null
  /** The same, made where there is none; kept by the browser for as long as such a sign-in may take. */
  keepSignInBinding(): string
}

/** The part of an adapter's `createContext` argument that is used here: Node adapters give `res`, fetch adapters `resHeaders`. */
export interface ContextRequest {
  readonly req: Request | NodeRequest
  readonly res?: NodeResponse
  readonly resHeaders?: Headers
  readonly info?: {
    readonly accept: string | null
    readonly calls: readonly { readonly path: string; readonly procedure: { readonly _def: { readonly meta?: unknown } } | null }[]
  }
}

interface NodeRequest {
  readonly method?: string | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly socket?: { readonly remoteAddress?: string | undefined }
}

interface NodeResponse {
  readonly headersSent: boolean
  appendHeader(name: string, value: string): unknown
}

/** What our procedures say of themselves. */
export interface AuthMeta {
  /** Sets the cookie or checks a secret: such a call comes alone and is answered whole. */
  readonly alone?: boolean
  /** Who may call it; a procedure that does not say fails the access test. */
  readonly access?: 'public' | 'user' | 'fresh' | 'admin' | 'fresh admin'
}

export function createRequestAuth(
  deps: { sessions: Sessions; clientAddress: ClientAddress; allowedOrigins: ReadonlySet<string> },
  request: ContextRequest,
): RequestAuth {
  const { sessions, clientAddress, allowedOrigins } = deps
  const token = readToken(header(request, 'cookie'), SESSION_COOKIE)
  const address = clientAddress(peerOf(request), header(request, 'x-forwarded-for'))
  let resolution: Promise<Resolution> | undefined
  requireAlone(request)

  function resolve(): Promise<Resolution> {
    resolution ??= token === null ? Promise.resolve({ state: 'unknown' }) : lookUp(token)
    return resolution
  }

  async function lookUp(value: string): Promise<Resolution> {
    requireOwnOrigin(request, allowedOrigins)
    const found = await sessions.resolve(value)
    // An unknown token is left alone: it may have been replaced by a parallel request whose cookie is on its way.
    if (found.state === 'ended' && canWrite(request)) write(request, clearedSessionCookie())
    return found
  }

  function become(user: UserRecord, renewed: { token: string; session: SessionRecord }): SignedIn {
    const { session } = renewed
    const maxAge = session.remembered ? session.absoluteExpiresAt - session.authenticatedAt : null
    write(request, sessionCookie(renewed.token, maxAge))
    resolution = Promise.resolve({ state: 'live', session, user })
    return signedIn({ session, user })
  }

  function signedIn({ user, session }: Live): SignedIn {
    return { user: toUser(user), session: sessions.toSession(session, session.id) }
  }

  return {
    requestId: requestId() ?? newRequestId(),
    address,
    async signedIn() {
      const found = await resolve()
      return found.state === 'live' ? signedIn(found) : null
    },
    async findLive() {
      const found = await resolve()
      return found.state === 'live' ? found : null
    },
    async requireLive() {
      const found = await resolve()
      if (found.state === 'live') return found
      throw new AuthError(found.state === 'ended' ? 'session_ended' : 'not_signed_in')
    },
    async login(user, { remember = false, provider } = {}) {
      requireOwnOrigin(request, allowedOrigins)
      requireWritable(request)
      const userAgent = header(request, 'user-agent')?.slice(0, MAX_USER_AGENT) ?? null
      return become(user, await sessions.start(user, { remember, userAgent, ip: address, replaces: token, provider: provider ?? null }))
    },
    replace(user, renewed) {
      requireOwnOrigin(request, allowedOrigins)
      requireWritable(request)
      return become(user, renewed)
    },
    async logout() {
      requireOwnOrigin(request, allowedOrigins)
      requireWritable(request)
      const found = await resolve()
      if (found.state === 'live')
        await sessions.revoke(found.user.id, found.session.id, { actorId: found.user.id, address }).catch(ignoreNotFound)
      if (token !== null && found.state !== 'ended') write(request, clearedSessionCookie())
      resolution = Promise.resolve({ state: 'unknown' })
    },
    findSignInBinding: () => readToken(header(request, 'cookie'), SIGN_IN_COOKIE),
    keepSignInBinding() {
      requireOwnOrigin(request, allowedOrigins)
      requireWritable(request)
      // The same for all tabs of a browser, so that sign-ins may be under way in several of them.
      const binding = readToken(header(request, 'cookie'), SIGN_IN_COOKIE) ?? newToken()
      write(request, signInCookie(binding, TRANSACTION_MS))
      return binding
    },
  }
}

/** A second logout at the same moment found the session already ended, which is what was asked for. */
function ignoreNotFound(error: unknown): void {
  if (!(error instanceof AuthError && error.reason === 'not_found')) throw error
}

/**
 * Refuses a batch before any of its calls runs: one request must not carry many guesses, and a stream has sent its head
 * before a procedure can set a cookie.
 */
function requireAlone({ info }: ContextRequest): void {
  const message = info === undefined ? null : aloneViolation(info)
  if (message !== null) throw refused(message)
}

/** Why a request may not carry the calls that it does, or `null`. */
export function aloneViolation(info: NonNullable<ContextRequest['info']>): string | null {
  const call = info.calls.find(({ procedure }) => (procedure?._def.meta as AuthMeta | undefined)?.alone === true)
  if (call === undefined) return null
  if (info.calls.length > 1) return `${call.path} cannot be batched with other calls; send it with httpLink`
  return info.accept === 'application/jsonl' ? `${call.path} cannot be streamed; use httpLink or httpBatchLink` : null
}

/** Where another adapter took the request, nobody has looked yet at where it comes from; a page elsewhere must not act here. */
function requireOwnOrigin(request: ContextRequest, allowed: ReadonlySet<string>): void {
  if (isVetted() || SAFE_METHODS.has(request.req.method ?? 'GET')) return
  const [origin, host, fetchSite] = [header(request, 'origin'), header(request, 'host'), header(request, 'sec-fetch-site')]
  // A browser's own word about a page of this very origin, also where a proxy has changed the host.
  if (fetchSite !== 'same-origin' && !isAllowedOrigin({ origin, host, fetchSite }, allowed)) throw new AuthError('origin_refused')
}

function requireWritable(request: ContextRequest): void {
  if (!canWrite(request)) throw refused('a session cookie cannot be set here: the response is streamed, or there is none')
}

function canWrite({ res, resHeaders, info }: ContextRequest): boolean {
  if (info?.accept === 'application/jsonl') return false
  return resHeaders !== undefined || (res !== undefined && !res.headersSent)
}

function write({ res, resHeaders }: ContextRequest, cookie: string): void {
  if (resHeaders !== undefined) resHeaders.append('set-cookie', cookie)
  else res?.appendHeader('set-cookie', cookie)
}

function refused(message: string): AuthError {
  return new AuthError('invalid_input', { message })
}

function header({ req }: ContextRequest, name: string): string | undefined {
  if (req.headers instanceof Headers) return req.headers.get(name) ?? undefined
  const value = req.headers[name]
  return Array.isArray(value) ? value.join(', ') : value
}

function peerOf({ req }: ContextRequest): string | undefined {
  return 'socket' in req ? req.socket?.remoteAddress : undefined
}
