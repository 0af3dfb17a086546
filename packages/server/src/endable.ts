type Result<T> = Promise<IteratorResult<T>>

/**
 * The same values, until `watch` ends them: with an error, or with `null` for a plain end. The source is told to stop and not
 * waited for: it may be waiting for something that never comes. `watch` answers how to stop watching.
 */
export function endable<T>(source: AsyncIterable<T>, watch: (end: (error: Error | null) => void) => () => void): AsyncIterable<T> {
  return {
    [Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]()
      let ending: (() => Result<T>) | null = null
      let wake: (() => void) | null = null
      const unwatch = watch((error) => {
        unwatch()
        ending ??= async () => {
          if (error !== null) throw error
          return { done: true, value: undefined }
        }
        wake?.()
        // It was told to stop; what it says to that is nobody's concern any more.
        Promise.resolve(iterator.return?.()).catch(() => {})
      })

      /** A race that leaves nothing behind: a promise as old as the stream would collect a reaction for each value. */
      function nextOrEnd(): Result<T> {
        if (ending !== null) return ending()
        return new Promise((resolve, reject) => {
          wake = () => resolve((ending as () => Result<T>)())
          iterator.next().then(resolve, reject)
        })
      }

      return {
        async next() {
          try {
            const result = await nextOrEnd()
            if (result.done === true) unwatch()
            return result
          } catch (error) {
            unwatch()
            throw error
          }
        },
        async return(value?: unknown) {
          unwatch()
          // One that was ended has been told already, and is not waited for here either.
          if (ending === null) await iterator.return?.(value)
          return { done: true, value: undefined }
        },
      }
    },
  }
}
