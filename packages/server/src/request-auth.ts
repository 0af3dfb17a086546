import { aloneViolation, type Begun, type RequestAuth, type SignedIn } from './context.ts'
import { clearedSessionCookie, readToken, SESSION_COOKIE, SIGN_IN_COOKIE, sessionCookie, signInCookie } from './cookies.ts'
import { AuthError } from './errors.ts'
import { TRANSACTION_MS } from './oauth.ts'
import { isAllowedOrigin } from './origin.ts'
import { type ContextRequest, header, isHeadGone, isSocket, isStreamed, mayBeLong } from './request.ts'
import { enterRequestScope, newRequestId, scopeOf } from './request-scope.ts'
import { cookieObstacle, setCookie, setHeader, setHeaderOnce } from './response.ts'
import type { Live, Origination, Resolution, Sessions } from './sessions.ts'
import { newToken } from './tokens.ts'
import { toUser } from './users.ts'

const MAX_USER_AGENT = 300
const SAFE_METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS'])
const UNKNOWN: Resolution = { state: 'unknown' }

/** What one request, or one socket, can do with a session. */
export function createRequestAuth(
  deps: { sessions: Sessions; allowedOrigins: ReadonlySet<string> },
  request: ContextRequest,
  address: string | null,
): RequestAuth {
  const { sessions, allowedOrigins } = deps
  const cameWith = readToken(header(request, 'cookie'), SESSION_COOKIE)
  // Where an adapter calls, and not a program in the middle of something else.
  const scope =
    request.info === undefined || isSocket(request) ? scopeOf(request.req) : enterRequestScope(request.req, header(request, 'accept'))
  const isVetted = scope?.vetted ?? false
  const isRead = SAFE_METHODS.has(request.req.method ?? 'GET')
  let token = cameWith
  let asking: Promise<Resolution> | undefined
  let acting: Promise<unknown> = Promise.resolve()
  let retryAfter = 0
  requireAlone(request)
  // One socket is for all that comes over it, so its one handshake is judged.
  if (isSocket(request)) requireOwnOrigin()

  function resolve(): Promise<Resolution> {
    if (token === null) return Promise.resolve(UNKNOWN)
    asking ??= ask(token)
    return asking
  }

  /** Shared by those who ask while it is under way, and believed by nobody later: what waits for a body asks when it has come. */
  async function ask(value: string): Promise<Resolution> {
    try {
      return await lookUp(value)
    } finally {
      asking = undefined
    }
  }

  async function lookUp(value: string): Promise<Resolution> {
    requireOwnOrigin()
    const found = await sessions.resolve(value)
    // An unknown token is left alone: it may have been replaced by a parallel request whose cookie is on its way.
    if (found.state === 'ended' && value === token && !isHeadGone(request)) writeSessionCookie(clearedSessionCookie())
    return found
  }

  async function requireLiveNow(): Promise<Live> {
    const found = await resolve()
    if (found.state === 'live') return found
    throw new AuthError(found.state === 'ended' ? 'session_ended' : 'not_signed_in')
  }

  /** Where another adapter took the request, nobody has looked yet at where it comes from; a page elsewhere must not act here. */
  function requireOwnOrigin(): void {
    if (isVetted || (isRead && !isSocket(request) && !isStreamed(request))) return
    const [origin, host, fetchSite] = [header(request, 'origin'), header(request, 'host'), header(request, 'sec-fetch-site')]
    if (!isAllowedOrigin({ origin, host, fetchSite }, allowedOrigins)) throw new AuthError('origin_refused')
  }

  function requireCookie(): void {
    requireOwnOrigin()
    const obstacle = cookieObstacle(request)
    if (obstacle !== null) throw refused(`a session cookie cannot be set ${obstacle}`)
  }

  /** One after the other, so that the last of a request is the one that counts. */
  function inTurn<T>(act: () => Promise<T>): Promise<T> {
    const done = acting.then(act)
    acting = done.catch(() => {})
    return done
  }

  async function begin(start: (from: Origination) => Promise<Begun>): Promise<SignedIn> {
    requireCookie()
    return inTurn(async () => {
      const userAgent = header(request, 'user-agent')?.slice(0, MAX_USER_AGENT) ?? null
      const begun = await start({ remember: false, userAgent, ip: address, replaces: token, provider: null })
      // Nobody would ever come with it: the head of the answer was sent meanwhile, or its caller has left.
      if (cookieObstacle(request) !== null) await end(begun)
      requireCookie()
      return become(begun)
    })
  }

  function become({ token: next, session, user }: Begun): SignedIn {
    const maxAge = session.remembered ? session.absoluteExpiresAt - session.authenticatedAt : null
    token = next
    asking = undefined
    writeSessionCookie(sessionCookie(next, maxAge))
    return signedIn({ session, user })
  }

  async function end({ user, session }: Live): Promise<void> {
    await sessions.logout(user.id, session.id, { actorId: user.id, address })
  }

  function writeSessionCookie(line: string | null): void {
    setCookie(request, SESSION_COOKIE, line)
    if (!isVetted) setHeader(request, 'cache-control', 'no-store')
  }

  function signedIn({ user, session }: Live): SignedIn {
    return { user: toUser(user), session: sessions.toSession(session, session.id) }
  }

  return {
    requestId: scope?.id ?? newRequestId(),
    address,
    async signedIn() {
      const found = await resolve()
      return found.state === 'live' ? signedIn(found) : null
    },
    async findLive() {
      const found = await resolve()
      return found.state === 'live' ? found : null
    },
    async requireLive(input) {
      // Our own server has read it before anybody is asked.
      if (!isVetted && !isRead && token !== null && input !== undefined) {
        // What is long is waited for, and read, for nobody who is not signed in.
        if (mayBeLong(request)) await requireLiveNow()
        // What is wrong with it is for the procedure to say.
        await input().catch(() => {})
      }
      return requireLiveNow()
    },
    requireCookie,
    login: (user, { remember = false, provider } = {}) =>
      begin((from) => sessions.start(user, { ...from, remember, provider: provider ?? null })),
    begin,
    replace(user, renewed) {
      requireCookie()
      return become({ ...renewed, user })
    },
    async logout() {
      requireCookie()
      await inTurn(async () => {
        const found = await resolve()
        if (found.state === 'live') await end(found)
        // Without one that came along there is none to clear, but maybe one to take back.
        writeSessionCookie(cameWith === null ? null : clearedSessionCookie())
        token = null
        asking = undefined
      })
    },
    findSignInBinding: () => readToken(header(request, 'cookie'), SIGN_IN_COOKIE),
    keepSignInBinding() {
      requireCookie()
      // The same for all tabs of a browser, so that sign-ins may be under way in several of them.
      const binding = readToken(header(request, 'cookie'), SIGN_IN_COOKIE) ?? newToken()
      setCookie(request, SIGN_IN_COOKIE, signInCookie(binding, TRANSACTION_MS))
      return binding
    },
    requireHttp(path) {
      if (isSocket(request)) throw refused(`${path} cannot be called over a WebSocket; call it over HTTP, with httpLink or httpBatchLink`)
    },
    forbidCaching() {
      if (!isVetted) setHeaderOnce(request, 'cache-control', 'no-store')
    },
    tellRetryAfter(seconds) {
      if (isVetted || seconds <= retryAfter) return
      retryAfter = seconds
      setHeader(request, 'retry-after', String(seconds))
    },
  }
}

/**
 * Refuses a batch before any of its calls runs: one request must not carry many guesses, and a stream has sent its head
 * before a procedure can set a cookie.
 */
function requireAlone({ info }: ContextRequest): void {
  const message = info === undefined ? null : aloneViolation(info)
  if (message !== null) throw refused(message)
}

function refused(message: string): AuthError {
  return new AuthError('invalid_input', { message })
}
