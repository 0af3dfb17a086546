import { TRPCError } from '@trpc/server'
import { type Issue, readIssues, withoutValues } from './issues.ts'
import { requestId } from './request-scope.ts'

type Code = TRPCError['code']

/** Each reason with its tRPC code and the message that callers see when none more exact is given. */
export const REASONS = {
  not_signed_in: { code: 'UNAUTHORIZED', message: 'Sign in first' },
  session_ended: { code: 'UNAUTHORIZED', message: 'The session has ended; sign in again' },
  invalid_credentials: { code: 'UNAUTHORIZED', message: 'Invalid username or password' },
  reauthentication_required: { code: 'FORBIDDEN', message: 'Confirm your password first' },
  forbidden: { code: 'FORBIDDEN', message: 'Your account may not do this' },
  origin_refused: { code: 'FORBIDDEN', message: 'Requests from this origin are not allowed' },
  registration_closed: { code: 'FORBIDDEN', message: 'Registration is closed' },
  not_found: { code: 'NOT_FOUND', message: 'Not found' },
  conflict: { code: 'CONFLICT', message: 'Already taken' },
  invalid_input: { code: 'BAD_REQUEST', message: 'The input was refused' },
  sign_in_failed: { code: 'BAD_REQUEST', message: 'The sign-in did not succeed; start again' },
  weak_password: { code: 'BAD_REQUEST', message: 'This password is too weak' },
  rate_limited: { code: 'TOO_MANY_REQUESTS', message: 'Too many attempts; try again later' },
  overloaded: { code: 'SERVICE_UNAVAILABLE', message: 'The server is overloaded; try again later' },
  unavailable: { code: 'SERVICE_UNAVAILABLE', message: 'The service is unavailable; try again later' },
} as const satisfies Record<string, { code: Code; message: string }>

/** The stable word of an error, for programs to decide on. */
export type Reason = keyof typeof REASONS

/** Fields an `AuthError` may carry beside its reason. */
export interface AuthErrorOptions {
  /** Safe to show to the caller. */
  message?: string
  /** For the log alone. */
  cause?: unknown
  /** Seconds, sent as `Retry-After` too. */
  retryAfter?: number
  issues?: readonly Issue[]
}

// The same in every copy of this package: a bundler or a test runner may load it twice.
const BRAND = Symbol.for('trpc-login.AuthError')

/**
 * An error that callers may see: throw it from your own procedures to answer with one of the stable reasons. Its name is that of its
 * parent, by which every copy of tRPC knows an error of another one; `instanceof AuthError` holds across copies of this package too.
 */
export class AuthError extends TRPCError {
  readonly reason: Reason
  readonly retryAfter: number | undefined
  readonly issues: readonly Issue[] | undefined

  constructor(reason: Reason, options: AuthErrorOptions = {}) {
    const { code, message } = REASONS[reason]
    super({ code, message: options.message ?? message, cause: options.cause })
    this.reason = reason
    this.retryAfter = options.retryAfter
    this.issues = options.issues
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    // A class derived from this one is told by its own prototype.
    if (this !== AuthError) return Function.prototype[Symbol.hasInstance].call(this, value)
    return typeof value === 'object' && value !== null && BRAND in value
  }
}
Object.defineProperty(AuthError.prototype, BRAND, { value: true })

/** The error that names each field that was refused. */
export function invalidInput(issues: readonly Issue[]): AuthError {
  return new AuthError('invalid_input', { message: textOf(issues), issues })
}

const REASON_OF_CODE: Partial<Record<Code, Reason>> = {
  UNAUTHORIZED: 'not_signed_in',
  FORBIDDEN: 'forbidden',
  NOT_FOUND: 'not_found',
  CONFLICT: 'conflict',
  BAD_REQUEST: 'invalid_input',
  PARSE_ERROR: 'invalid_input',
  PAYLOAD_TOO_LARGE: 'invalid_input',
  UNSUPPORTED_MEDIA_TYPE: 'invalid_input',
  UNPROCESSABLE_CONTENT: 'invalid_input',
  TOO_MANY_REQUESTS: 'rate_limited',
  SERVICE_UNAVAILABLE: 'unavailable',
}

/** What `error.data` holds for every error of an application that uses `formatAuthError`. */
export interface AuthErrorData {
  readonly code: Code
  readonly httpStatus: number
  readonly path?: string
  readonly reason: Reason | null
  readonly requestId: string | null
  readonly issues?: readonly Issue[]
  readonly retryAfter?: number
}

interface ErrorShape {
  message: string
  code: number
  data: { code: Code; httpStatus: number; path?: string }
}

/** What is used here of a context's `auth`. */
interface RequestOfError {
  readonly requestId: string
  tellRetryAfter(seconds: number): void
}

/**
 * Gives errors their stable reason and request id, and masks those that nobody meant to show.
 * Use it as the `errorFormatter` of the application's `initTRPC`.
 */
export function formatAuthError<S extends ErrorShape>(opts: {
  shape: S
  error: TRPCError
  input?: unknown
  ctx?: unknown
}): Omit<S, 'data'> & { data: AuthErrorData } {
  const { shape, error, input } = opts
  const given = shapeOfOtherCopy(error)
  if (given !== undefined) return given as Omit<S, 'data'> & { data: AuthErrorData }
  // Absent where the context itself could not be made.
  const request = (opts.ctx as { auth?: RequestOfError } | undefined)?.auth
  const { code, httpStatus, path } = shape.data
  const known = knownError(error)
  const issues = known === null ? issuesOf(error, input) : known.issues
  const retryAfter = known?.retryAfter
  if (retryAfter !== undefined) request?.tellRetryAfter(retryAfter)
  return {
    ...shape,
    message: known?.message ?? messageFor(error, issues, input),
    // Named field by field: whatever else tRPC puts here, such as a stack, must not leave.
    data: {
      code,
      httpStatus,
      ...(path === undefined ? {} : { path }),
      reason: known?.reason ?? REASON_OF_CODE[error.code] ?? null,
      requestId: request?.requestId ?? requestId(),
      ...(issues === undefined ? {} : { issues }),
      ...(retryAfter === undefined ? {} : { retryAfter }),
    },
  }
}

/** What a procedure's own `.errors()` made of it, where the copy of tRPC that answers does not know the symbol of the one that called it. */
function shapeOfOtherCopy(error: TRPCError): unknown {
  const key = Object.getOwnPropertySymbols(error).find(({ description }) => description === 'trpc_formattedErrorShape')
  return key === undefined ? undefined : (error as unknown as Record<symbol, unknown>)[key]
}

/** An error of ours, also where it was wrapped: tRPC takes what a transformer or a validator throws for its own alone, or not at all. */
function knownError(error: TRPCError): AuthError | null {
  if (error instanceof AuthError) return error
  const cause: unknown = error.cause
  return cause instanceof AuthError && cause.code === error.code && cause.message === error.message ? cause : null
}

function messageFor(error: TRPCError, issues: readonly Issue[] | undefined, input: unknown): string {
  if (issues !== undefined) return textOf(issues)
  if (error.code === 'INTERNAL_SERVER_ERROR') return 'Internal server error'
  const cause: unknown = error.cause
  // The engine's own text would quote a piece of the body, which may be a password. By its name: test runners have an engine of their own.
  if (cause instanceof Error && cause.name === 'SyntaxError') return 'The input is not valid JSON'
  return isValidatorsOwn(error) ? withoutValues(error.message, input) : error.message
}

function textOf(issues: readonly Issue[]): string {
  return issues.map(({ path, message }) => `${path.join('.') || 'input'}: ${message}`).join('; ')
}

function issuesOf(error: TRPCError, input: unknown): readonly Issue[] | undefined {
  // An output that fails its schema is our mistake, and tRPC gives it another code.
  if (error.code !== 'BAD_REQUEST') return undefined
  const { issues } = (error.cause ?? {}) as { issues?: unknown }
  return Array.isArray(issues) ? readIssues(issues, input) : undefined
}

/** Whether the text is a validator's: tRPC adds none, while an application that refuses an input says why. */
function isValidatorsOwn({ code, message, cause }: TRPCError): boolean {
  return code === 'BAD_REQUEST' && cause?.message === message
}
