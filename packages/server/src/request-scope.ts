import { AsyncLocalStorage } from 'node:async_hooks'
import { randomUUID } from 'node:crypto'

/** What belongs to one HTTP request before tRPC has made a context of it. */
export interface RequestScope {
  readonly id: string
  /** The caller asked for JSON without superjson's envelope. */
  readonly plain: boolean
  /** The server's own gate has judged where the request comes from. */
  readonly vetted: boolean
}

const scopes = new AsyncLocalStorage<RequestScope>()

/** Runs `handle` so that everything it starts can ask for this scope. */
export function withRequestScope<T>(scope: RequestScope, handle: () => T): T {
  return scopes.run(scope, handle)
}

export function requestId(): string | null {
  return scopes.getStore()?.id ?? null
}

export function wantsPlainJson(): boolean {
  return scopes.getStore()?.plain ?? false
}

export function isVetted(): boolean {
  return scopes.getStore()?.vetted ?? false
}

export function newRequestId(): string {
  return randomUUID()
}
