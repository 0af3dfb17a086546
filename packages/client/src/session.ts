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
  /**
   * Signs in with a provider that the server knows: in browsers it leaves the page for the provider, in Node it shows the address
   * to open and waits until the person has come back.
   * @throws TRPCClientError with the server's reason, such as `sign_in_failed`, `conflict` or `unavailable`
   */
  signInWith(provider: string, options?: SignInWithOptions): Promise<S>
}

/** How to sign in with a provider. */
export interface SignInWithOptions {
  /** The path of the server's origin to come back to. Browsers only. @default '/' */
  readonly returnTo?: string
  readonly remember?: boolean
  /** Adds the account at the provider to the user who is signed in, and fresh. */
  readonly link?: boolean
  /** Shows the address to the person, or opens it. Node only. @default prints it on standard error */
  readonly open?: (url: string) => unknown
  /** Gives up. Node only; ten minutes end it too. */
  readonly signal?: AbortSignal
}

/** What the session link reports. */
export interface SessionRecorder<S> {
  /** Grows with each sign-in and sign-out: an answer that was asked for before one says nothing about it. */
  readonly generation: number
  /** Grows when it may be somebody else who is signed in: what was asked for one user is not asked again for another. */
  readonly person: number
  signedIn(current: S): void
  /** The same session, seen again. */
  seen(current: S): void
  signedOut(): void
  ended(): void
}

export function createSession<S>(acts: Pick<ClientSession<S>, 'refresh' | 'signInWith'>): {
  session: ClientSession<S>
  recorder: SessionRecorder<S>
} {
  const listeners = new Set<(state: SessionState<S>) => void>()
  let state: SessionState<S> = { status: 'unknown', current: null }
  let generation = 0
  let person = 0
  let userId: unknown

  function meet(current: S): void {
    const { id } = (current as { user?: { id?: unknown } } | null)?.user ?? {}
    if (userId !== undefined && userId !== id) person += 1
    userId = id
    become({ status: 'signed_in', current })
  }

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
      ...acts,
    },
    recorder: {
      get generation() {
        return generation
      },
      get person() {
        return person
      },
      signedIn(current) {
        generation += 1
        meet(current)
      },
      seen: meet,
      signedOut() {
        generation += 1
        person += 1
        userId = undefined
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
