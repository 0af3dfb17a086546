import './require-node.ts'
import { type Auth, createAuth } from './auth.ts'
import type { AuthContext, RequestAuth } from './context.ts'
import { SESSION_COOKIE } from './cookies.ts'
import { silentLog } from './log.ts'
import type { AuthOptions } from './options.ts'
import { sqliteStorage } from './storage/sqlite.ts'
import type { UserRecord } from './storage/storage.ts'
import type { NewUser } from './users.ts'

/** A clock that stands still until the test moves it. */
export interface TestClock {
  now(): number
  /** Moves the clock forward. */
  advance(ms: number): void
}

/** An auth in memory, for tests of applications. */
export interface TestAuth<TRole extends string> extends Auth<TRole>, AsyncDisposable {
  readonly clock: TestClock
  /** A context for `createCaller`, signed in as a user who is made when missing, or as nobody; it keeps its session from call to call. */
  contextFor(user: string | Partial<NewUser> | null, options?: { remember?: boolean }): Promise<AuthContext>
}

/**
 * Everything `createAuth` gives, in memory and with a clock that the test sets. Use it with your router's `createCaller`:
 * `createCaller({ ...(await auth.contextFor('ada')), db })`.
 */
export function createTestAuth<const TRole extends string = never>(
  options: Omit<AuthOptions<TRole>, 'now' | 'storage'> = {},
): TestAuth<TRole> {
  let time = Date.UTC(2026, 0, 1)
  const clock: TestClock = {
    now: () => time,
    advance: (ms) => {
      time += ms
    },
  }
  const auth = createAuth<TRole>({ log: silentLog, ...options, storage: sqliteStorage({ path: ':memory:' }), now: clock.now })

  async function findOrMake(user: string | Partial<NewUser>): Promise<UserRecord> {
    const wanted = typeof user === 'string' ? { username: user } : user
    const username = wanted.username ?? 'user'
    return (await auth.users.findByUsername(username)) ?? auth.users.create({ ...wanted, username })
  }

  return {
    ...auth,
    clock,
    async contextFor(user, { remember = false } = {}) {
      const browser = createBrowser(auth)
      if (user !== null) await browser.login(await findOrMake(user), { remember })
      return { auth: browser }
    },
    [Symbol.asyncDispose]: auth.close,
  }
}

/**
 * Keeps the cookie as a browser would, and makes each act a request of its own: time may pass between two calls. Its requests are
 * plain objects, because a test environment may have brought its own `Request` and `Headers`.
 */
function createBrowser(auth: Auth): RequestAuth {
  let cookie = ''
  const request = () => {
    const lines: string[] = []
    const res = {
      headersSent: false,
      getHeader: () => lines,
      removeHeader: () => void lines.splice(0),
      setHeader(name: string, value: string | readonly string[]) {
        if (name !== 'set-cookie') return
        lines.splice(0, lines.length, ...[value].flat())
        cookie = lines.findLast((line) => line.startsWith(SESSION_COOKIE))?.split(';', 1)[0] ?? ''
      },
    }
    return auth.createContext({ req: { headers: { cookie } }, res }).auth
  }
  return {
    requestId: request().requestId,
    address: null,
    signedIn: () => request().signedIn(),
    findLive: () => request().findLive(),
    requireLive: (input) => request().requireLive(input),
    requireCookie: () => request().requireCookie(),
    login: (...args) => request().login(...args),
    begin: (start) => request().begin(start),
    replace: (...args) => request().replace(...args),
    logout: () => request().logout(),
    findSignInBinding: () => request().findSignInBinding(),
    keepSignInBinding: () => request().keepSignInBinding(),
    requireHttp: () => {},
    forbidCaching: () => {},
    tellRetryAfter: () => {},
  }
}
