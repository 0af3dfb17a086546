const LOOK_AGAIN_MS = 100

/** Lets those wait who are kept out for a moment only, each by the key that keeps it out. */
export interface Turns {
  /** Waits until it may be worth asking again; `false` where too many wait, or this one has waited long enough. */
  next(key: string, waiter: Waiter): Promise<boolean>
  /** Something that kept others out is over: one of them asks again. */
  wake(key: string): void
}

/** One that waits, from the first time to the last. */
export interface Waiter {
  readonly since: number
  readonly asked: number
}

/** What is over elsewhere wakes nobody here, so that everyone asks again now and then too, less and less often. */
export function createTurns({ waiting, waitMs }: { waiting: number; waitMs: number }): Turns {
  const queues = new Map<string, Set<() => void>>()
  let count = 0

  async function next(key: string, { since, asked }: Waiter): Promise<boolean> {
    const left = since + waitMs - performance.now()
    if (left <= 0 || count >= waiting) return false
    const queue = queues.get(key) ?? new Set()
    queues.set(key, queue)
    count += 1
    await new Promise<void>((resolve) => {
      const go = () => {
        clearTimeout(timer)
        queue.delete(go)
        if (queue.size === 0 && queues.get(key) === queue) queues.delete(key)
        resolve()
      }
      const timer = setTimeout(go, Math.min(left, LOOK_AGAIN_MS * 2 ** asked))
      queue.add(go)
    })
    count -= 1
    return true
  }

  return {
    next,
    wake(key) {
      const [first] = queues.get(key) ?? []
      first?.()
    },
  }
}
