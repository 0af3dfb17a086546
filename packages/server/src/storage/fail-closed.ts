import { AuthError } from '../errors.ts'
import type { Storage } from './storage.ts'

/**
 * The same storage, whose every failure is `unavailable`: what an adapter throws must never be taken for an answer about a
 * session, and its text is not for callers.
 */
export function failClosed(storage: Storage): Storage {
  const whole = guarded(storage)
  return {
    users: guarded(storage.users),
    sessions: guarded(storage.sessions),
    attempts: guarded(storage.attempts),
    audit: guarded(storage.audit),
    identities: guarded(storage.identities),
    transactions: guarded(storage.transactions),
    migrate: (options) => whole.migrate(options),
    schema: () => whole.schema(),
    check: () => whole.check(),
    changes: () => whole.changes(),
    close: () => whole.close(),
  }
}

function guarded<T extends object>(target: T): T {
  const wrapped = new Map<unknown, unknown>()
  return new Proxy(target, {
    get(object, key) {
      const value: unknown = Reflect.get(object, key)
      if (typeof value !== 'function') return value
      if (!wrapped.has(value)) wrapped.set(value, failingClosed(value.bind(object) as (...args: unknown[]) => unknown))
      return wrapped.get(value)
    },
  })
}

function failingClosed(method: (...args: unknown[]) => unknown) {
  return async (...args: unknown[]): Promise<unknown> => {
    try {
      return await method(...args)
    } catch (cause) {
      throw cause instanceof AuthError ? cause : new AuthError('unavailable', { cause })
    }
  }
}
