import { AuthError } from './errors.ts'

const RETRY_AFTER_SECONDS = 2

/** Runs expensive jobs a few at a time. */
export interface WorkQueue {
  /** @throws `overloaded` where too many wait, or this one waits too long */
  run<T>(job: () => Promise<T>): Promise<T>
  /** For before the work that leads to a job. @throws `overloaded` where a job would be refused now */
  requireRoom(): void
}

/** Bounds how much is done and how much is promised: a flood of logins must take neither the other calls' time nor the memory. */
export function createWorkQueue(options: { atOnce: number; waiting: number; waitMs: number }): WorkQueue {
  const { atOnce, waiting, waitMs } = options
  const queue: (() => void)[] = []
  let running = 0

  function requireRoom(): void {
    if (running >= atOnce && queue.length >= waiting) throw new AuthError('overloaded', { retryAfter: RETRY_AFTER_SECONDS })
  }

  async function turn(): Promise<void> {
    requireRoom()
    if (running < atOnce) {
      running += 1
      return
    }
    await new Promise<void>((resolve, reject) => {
      const begin = () => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        queue.splice(queue.indexOf(begin), 1)
        reject(new AuthError('overloaded', { retryAfter: RETRY_AFTER_SECONDS }))
      }, waitMs)
      queue.push(begin)
    })
  }

  return {
    requireRoom,
    async run(job) {
      await turn()
      try {
        return await job()
      } finally {
        // The place goes straight to who waits longest, so that nobody who comes now can take it.
        const next = queue.shift()
        if (next === undefined) running -= 1
        else next()
      }
    },
  }
}
