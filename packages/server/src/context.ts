import type { ContextRequest } from './request.ts'
import type { Live, Origination, Session } from './sessions.ts'
import type { SessionRecord, UserRecord } from './storage/storage.ts'
import type { User } from './users.ts'

/** Who is signed in, and with which session. */
export interface SignedIn {
  readonly user: User
  readonly session: Session
}

/** What an application's context must hold for our router and guards. */
export interface AuthContext {
  readonly auth: RequestAuth
}

/** A session that was just begun, or goes on, under a new token. */
export interface Begun {
  readonly token: string
  readonly session: SessionRecord
  readonly user: UserRecord
}

/**
 * The session of one HTTP request, and the only place that writes its cookie. Whoever asks is told what the store says now: those who
 * ask at the same time share one look-up, and nobody believes an answer that was there before.
 */
export interface RequestAuth {
  /** The same as in errors, logs and the `x-request-id` header. */
  readonly requestId: string
  /** The caller's address behind trusted proxies, or `null` where there is none. */
  readonly address: string | null
  /** Who is signed in, or `null`. */
  signedIn(): Promise<SignedIn | null>
  /** The stored session and user, or `null`. */
  findLive(): Promise<Live | null>
  /** The stored session and user, once `input` has come whole. @throws `not_signed_in`, `session_ended` */
  requireLive(input?: () => Promise<unknown>): Promise<Live>
  /**
   * For before a secret is looked at or anything is written: the request comes from where it may, and its answer can carry a cookie.
   * @throws `origin_refused`, `invalid_input`
   */
  requireCookie(): void
  /** Starts a session for someone whose proof of identity the caller has checked. */
  login(user: UserRecord, options?: { remember?: boolean; provider?: string }): Promise<SignedIn>
  /** The same by an act of the caller's, which is told where the session comes from. */
  begin(start: (from: Origination) => Promise<Begun>): Promise<SignedIn>
  /** Goes on with a session under its new token. */
  replace(user: UserRecord, renewed: { token: string; session: SessionRecord }): SignedIn
  /** Ends the session, if there is one. */
  logout(): Promise<void>
  /** What binds sign-ins with providers to this browser, or `null` where none has begun. */
  findSignInBinding(): string | null
  /** The same, made where there is none; kept by the browser for as long as such a sign-in may take. */
  keepSignInBinding(): string
  /** Refuses calls that are not for a WebSocket. @throws `invalid_input` */
  requireHttp(path: string): void
  /** Says in the head of the answer that it is for nobody else, unless the application has said how it may be kept. */
  forbidCaching(): void
  /** Says in the head of the answer when to come back; of several the latest. */
  tellRetryAfter(seconds: number): void
}

/** What our procedures say of themselves. */
export interface AuthMeta {
  /** Sets the cookie or checks a secret: such a call comes alone and is answered whole. */
  readonly alone?: boolean
  /** Who may call it; a procedure that does not say fails the access test. */
  readonly access?: 'public' | 'user' | 'fresh' | 'admin' | 'fresh admin'
}

/** Why a request may not carry the calls that it does, or `null`. */
export function aloneViolation(info: NonNullable<ContextRequest['info']>): string | null {
  const call = info.calls.find(({ procedure }) => (procedure?._def.meta as AuthMeta | undefined)?.alone === true)
  if (call === undefined) return null
  if (info.calls.length > 1) return `${call.path} cannot be batched with other calls; send it with httpLink`
  return info.accept === 'application/jsonl' ? `${call.path} cannot be streamed; use httpLink or httpBatchLink` : null
}
