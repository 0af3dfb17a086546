import { TRPCClientError } from '@trpc/client'

/** The stable words that a trpc-login server gives as `error.data.reason`. */
export type Reason =
  | 'not_signed_in'
  | 'session_ended'
  | 'invalid_credentials'
  | 'reauthentication_required'
  | 'forbidden'
  | 'origin_refused'
  | 'registration_closed'
  | 'not_found'
  | 'conflict'
  | 'invalid_input'
  | 'sign_in_failed'
  | 'weak_password'
  | 'rate_limited'
  | 'overloaded'
  | 'unavailable'

/** The reason of a failed call, or `null` where the server gave none, such as for a network error. */
export function reasonOf(error: unknown): Reason | null {
  const reason = dataOf(error)?.['reason']
  return typeof reason === 'string' ? (reason as Reason) : null
}

/** How many seconds the server asks to wait, for `rate_limited` and `overloaded`. */
export function retryAfterOf(error: unknown): number | null {
  const seconds = dataOf(error)?.['retryAfter']
  return typeof seconds === 'number' ? seconds : null
}

function dataOf(error: unknown): Record<string, unknown> | null {
  if (!(error instanceof TRPCClientError)) return null
  const data: unknown = error.data
  return typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : null
}
