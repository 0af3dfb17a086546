import { TRPCError } from '@trpc/server'
import { z } from 'zod'
import { requestId } from './request-scope.ts'

/** A field that was refused: where it stands in the input, and what is wrong with it. */
export interface Issue {
  readonly path: readonly (string | number)[]
  readonly message: string
}

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

/** An error that callers may see: throw it from your own procedures to answer with one of the stable reasons. */
export class AuthError extends TRPCError {
  readonly reason: Reason
  readonly retryAfter: number | undefined
  readonly issues: readonly Issue[] | undefined

  constructor(reason: Reason, options: AuthErrorOptions = {}) {
    const { code, message } = REASONS[reason]
    super({ code, message: options.message ?? message, cause: options.cause })
    this.name = 'AuthError'
    this.reason = reason
    this.retryAfter = options.retryAfter
    this.issues = options.issues
  }
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

/**
 * Gives errors their stable reason and request id, and masks those that nobody meant to show.
 * Use it as the `errorFormatter` of the application's `initTRPC`.
 */
export function formatAuthError<S extends ErrorShape>(opts: { shape: S; error: TRPCError }): Omit<S, 'data'> & { data: AuthErrorData } {
  const { shape, error } = opts
  const { code, httpStatus, path } = shape.data
  const issues = issuesOf(error)
  const retryAfter = error instanceof AuthError ? error.retryAfter : undefined
  return {
    ...shape,
    message: messageFor(error, issues),
    // Named field by field: whatever else tRPC puts here, such as a stack, must not leave.
    data: {
      code,
      httpStatus,
      ...(path === undefined ? {} : { path }),
      reason: error instanceof AuthError ? error.reason : (REASON_OF_CODE[error.code] ?? null),
      requestId: requestId(),
      ...(issues === undefined ? {} : { issues }),
      ...(retryAfter === undefined ? {} : { retryAfter }),
    },
  }
}

function messageFor(error: TRPCError, issues: readonly Issue[] | undefined): string {
  if (error instanceof AuthError) return error.message
  if (issues !== undefined) return issues.map(({ path, message }) => `${path.join('.') || 'input'}: ${message}`).join('; ')
  if (error.code === 'INTERNAL_SERVER_ERROR') return 'Internal server error'
  // The engine's own text would quote a piece of the body, which may be a password.
  if (error.cause instanceof SyntaxError) return 'The input is not valid JSON'
  return error.message
}

function issuesOf(error: TRPCError): readonly Issue[] | undefined {
  if (error instanceof AuthError) return error.issues
  const cause: unknown = error.cause
  // An output that fails its schema is our mistake, and tRPC gives it another code.
  if (error.code !== 'BAD_REQUEST' || !(cause instanceof z.core.$ZodError)) return undefined
  return cause.issues.flatMap(toIssues)
}

function toIssues(issue: z.core.$ZodIssue): Issue[] {
  const path = issue.path.map((key) => (typeof key === 'number' ? key : String(key)))
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }]
  return issue.keys.map((key) => ({ path: [...path, key], message: 'Unknown key' }))
}
