import { AuthError } from '../errors.ts'
import type { Storage } from './storage.ts'

/**
 * The same storage, whose every failure is `unavailable`: what an adapter throws must never be taken for an answer about a
 * session, and its text is not for callers. Nothing of it is touched before it is used. `migrate` and `schema`, which no caller
 * reaches, tell what is wrong with a storage that is not fit for use (TypeError); otherwise `report` does.
 */
export function failClosed(storage: Storage, report: (unfit: TypeError) => void = () => {}): Storage {
  const part = <K extends keyof Storage>(name: K) => guarded(() => storage[name] as object, report) as Storage[K]
  const whole = guarded(() => storage, report)
  return {
    users: part('users'),
    sessions: part('sessions'),
    attempts: part('attempts'),
    audit: part('audit'),
    identities: part('identities'),
    transactions: part('transactions'),
    migrate: (options) => tellingUnfit(() => storage.migrate(options)),
    schema: () => tellingUnfit(() => storage.schema()),
    check: () => whole.check(),
    changes: (known) => whole.changes(known),
    close: () => whole.close(),
  }
}

type Method = (...args: unknown[]) => Promise<unknown>

function guarded<T extends object>(target: () => T, report: (unfit: TypeError) => void): T {
  const methods = new Map<PropertyKey, Method>()
  const called = (key: PropertyKey): Method => {
    let method: Method | undefined
    return async (...args) => {
      try {
        method ??= bound(target(), key)
        return await method(...args)
      } catch (cause) {
        if (cause instanceof TypeError) report(cause)
        throw unavailable(cause)
      }
    }
  }
  return new Proxy({} as T, {
    get(_target, key) {
      // A store that had a `then` would be waited for where it is handed on.
      if (typeof key === 'symbol' || key === 'then') return undefined
      const method = methods.get(key) ?? called(key)
      methods.set(key, method)
      return method
    },
  })
}

function bound(target: object, key: PropertyKey): Method {
  return (Reflect.get(target, key) as Method).bind(target)
}

async function tellingUnfit<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (cause) {
    throw cause instanceof TypeError ? cause : unavailable(cause)
  }
}

function unavailable(cause: unknown): AuthError {
  return cause instanceof AuthError ? cause : new AuthError('unavailable', { cause })
}
