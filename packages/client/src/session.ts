/** Where the client stands: `unknown` until the first answer that tells, `ended` when the server ended the session. */
export type SessionState<S> =
  | { readonly status: 'signed_in'; readonly current: S }
  | { readonly status: 'unknown' | 'signed_out' | 'ended'; readonly current: null }

/** What an application watches to know who is signed in. */
export interface ClientSession<S> {
  /** Who is signed in, as far as the last answer told. */
  readonly current: S | null
  readonly state: SessionState<S>
  /** Calls back on each change; answers how to stop. */
  subscribe(listener: (state: SessionState<S>) => void): () => void
  /** Asks the server who is signed in. */
  refresh(): Promise<S | null>
}

/** What the session link reports. */
export interface SessionRecorder<S> {
  /** Grows with each sign-in: an answer that was asked for before one says nothing about it. */
  readonly generation: number
  signedIn(current: S): void
  /** The same session, seen again. */
  seen(current: S): void
  signedOut(): void
  ended(): void
}

export function createSession<S>(refresh: () => Promise<S | null>): { session: ClientSession<S>; recorder: SessionRecorder<S> } {
  const listeners = new Set<(state: SessionState<S>) => void>()
  let state: SessionState<S> = { status: 'unknown', current: null }
  let generation = 0

  function become(next: SessionState<S>): void {
    const changed = next.status !== state.status || JSON.stringify(next.current) !== JSON.stringify(state.current)
    state = next
    if (!changed) return
    for (const listener of listeners) notify(listener, state)
  }

  return {
    session: {
      get current() {
        return state.current
      },
      get state() {
        return state
      },
      subscribe(listener) {
        listeners.add(listener)
        return () => void listeners.delete(listener)
      },
      refresh,
    },
    recorder: {
      get generation() {
        return generation
      },
      signedIn(current) {
        generation += 1
        become({ status: 'signed_in', current })
      },
      seen: (current) => become({ status: 'signed_in', current }),
      signedOut() {
        generation += 1
        become({ status: 'signed_out', current: null })
      },
      ended: () => become({ status: 'ended', current: null }),
    },
  }
}

/** A listener's mistake is its own: it must fail neither the call that caused the change nor the other listeners. */
function notify<S>(listener: (state: SessionState<S>) => void, state: SessionState<S>): void {
  try {
    listener(state)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
