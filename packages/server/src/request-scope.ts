import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'

/** What belongs to one HTTP request, for what knows no context: the log, the transformer, errors that come before one. */
export interface RequestScope {
  readonly id: string
  /** The caller asked for JSON without superjson's envelope. */
  readonly plain: boolean
  /** Whose scope it is: a request that is made within another's has none of it. */
  readonly req: object
  /** The server's own gate has judged where the request comes from, and sets the headers of the answer. */
  readonly vetted: boolean
}

const scopes = new AsyncLocalStorage<RequestScope>()

/** Runs `handle` so that everything it starts can ask for this scope. */
export function withRequestScope<T>(scope: RequestScope, handle: () => T): T {
  return scopes.run(scope, handle)
}

/** The scope of a request: the one there is, or from here on a new one. */
export function enterRequestScope(req: object, accept: string | undefined): RequestScope {
  const present = scopeOf(req)
  if (present !== null) return present
  const scope = { id: newRequestId(), plain: isPlain(accept), req, vetted: false }
  scopes.enterWith(scope)
  return scope
}

export function scopeOf(req: object): RequestScope | null {
  const scope = scopes.getStore()
  return scope?.req === req ? scope : null
}

/** Whether an `Accept` header asks for JSON, and nothing but JSON. */
export function isPlain(accept: string | undefined): boolean {
  return accept === 'application/json'
}

export function requestScope(): RequestScope | null {
  return scopes.getStore() ?? null
}

export function requestId(): string | null {
  return scopes.getStore()?.id ?? null
}

export function wantsPlainJson(): boolean {
  return scopes.getStore()?.plain ?? false
}

export function newRequestId(): string {
  return randomUUID()
}
