import { AuthError } from './errors.ts'

const RETRY_AFTER_SECONDS = 2

/** Runs expensive jobs a few at a time. @throws `overloaded` where too many wait, or one waits too long */
export type WorkQueue = <T>(job: () => Promise<T>) => Promise<T>

/** Bounds how much is done and how much is promised: a flood of logins must take neither the other calls' time nor the memory. */
export function createWorkQueue(options: { atOnce: number; waiting: number; waitMs: number }): WorkQueue {
  const { atOnce, waiting, waitMs } = options
  const queue: (() => void)[] = []
  let running = 0

  function turn(): Promise<void> {
    if (running < atOnce) {
      running += 1
      return Promise.resolve()
    }
    if (queue.length >= waiting) return Promise.reject(overloaded())
    return new Promise((resolve, reject) => {
      const begin = () => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        queue.splice(queue.indexOf(begin), 1)
        reject(overloaded())
      }, waitMs)
      queue.push(begin)
    })
  }

  return async (job) => {
    await turn()
    try {
      return await job()
    } finally {
      // The place goes straight to who waits longest, so that nobody who comes now can take it.
      const next = queue.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}

function overloaded(): AuthError {
  return new AuthError('overloaded', { retryAfter: RETRY_AFTER_SECONDS })
}
