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
  // By name, as tRPC itself does: an application that is bundled, or says `require`, has a class of its own.
  const { name, data } = (error ?? {}) as { name?: unknown; data?: unknown }
  return name === 'TRPCClientError' && typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : null
}
