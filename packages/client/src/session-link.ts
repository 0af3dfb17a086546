import { type OperationResultEnvelope, TRPCClientError, type TRPCLink } from '@trpc/client'
import type { AnyRouter } from '@trpc/server'
import { observable, type Unsubscribable } from '@trpc/server/observable'
import { type Reason, reasonOf } from './errors.ts'
import type { Cookies } from './platform.ts'
import type { SessionRecorder } from './session.ts'

const SIGNING_IN = new Set(['login', 'register', 'reauthenticate', 'changePassword', 'oauth.finish'])
const SIGNING_OUT = new Set(['logout', 'account.delete'])
const ALONE = new Set([...SIGNING_IN, ...SIGNING_OUT, 'resetPassword', 'oauth.begin', 'users.create'])
// A token can be replaced again while a call is sent once more.
const MAX_SENDS = 4

/** Whether a call sets the cookie or checks a secret: such calls travel alone. */
export function travelsAlone(path: string, authPath: string): boolean {
  const name = nameIn(path, authPath)
  return ALONE.has(name) || name === 'account.export'
}

function nameIn(path: string, authPath: string): string {
  return path.startsWith(`${authPath}.`) ? path.slice(authPath.length + 1) : ''
}

type Recover = (() => Promise<unknown>) | null

/** What the calls of one client share. */
export interface LinkDeps<S> {
  readonly authPath: string
  readonly recorder: SessionRecorder<S>
  readonly cookies: Pick<Cookies, 'version' | 'clear'>
  /** Takes a token that another program has left in the store, and asks whose it is; once for all calls. */
  readonly renew: () => Promise<unknown>
  readonly open: Set<Unsubscribable>
  /** The calls under way that may replace the token. */
  readonly signingIn: Set<Promise<void>>
  readonly isClosed: () => boolean
}

/**
 * Reads from the answers who is signed in. A call that was refused because its token was replaced while it was under way is sent once
 * more with the new one, of whatever kind it is: the guard refused it before anything was done.
 */
export function sessionLink<S>(
  deps: LinkDeps<S>,
  /** Gets an ended session back, once for all calls; `null` when there is no way back. */
  recover: Recover,
): TRPCLink<AnyRouter> {
  const { authPath, recorder, cookies, renew, open, signingIn, isClosed } = deps

  function note(name: string, data: unknown, generation: number): void {
    if (SIGNING_IN.has(name)) recorder.signedIn(data as S)
    else if (SIGNING_OUT.has(name)) recorder.signedOut()
    else if (name === 'me' && recorder.generation === generation) {
      if (data === null) recorder.signedOut()
      else recorder.seen(data as S)
    }
  }

  /** Whether the same user has another token by now, or gets one back. */
  async function isRenewed(name: string, start: Start, recover: Recover): Promise<boolean> {
    await Promise.all(signingIn)
    // Whoever asks who is signed in may be doing so for the others that wait.
    if (name !== 'me') await renew()
    if (!isChanged(start)) await recover?.()
    return isChanged(start) && recorder.person === start.person
  }

  function isChanged({ generation, version }: Start): boolean {
    return recorder.generation !== generation || cookies.version !== version
  }

  async function noteFailure(reason: Reason, start: Start): Promise<void> {
    if (isChanged(start)) return
    if (reason === 'session_ended') recorder.ended()
    else recorder.signedOut()
    await cookies.clear()
  }

  return () =>
    ({ op, next }) =>
      observable((observer) => {
        if (isClosed()) {
          observer.error(closedError())
          return
        }
        const name = nameIn(op.path, authPath)
        let inner: Unsubscribable | undefined
        let done = false
        let left = MAX_SENDS
        let mayRecover = recover !== null && !ALONE.has(name)
        let answered: (() => void) | undefined
        const finish = () => {
          done = true
          answered?.()
          open.delete(handle)
        }
        const handle: Unsubscribable = {
          unsubscribe() {
            const wasDone = done
            finish()
            inner?.unsubscribe()
            if (!wasDone) observer.error(closedError())
          },
        }
        open.add(handle)

        function send(): void {
          left -= 1
          const start = { generation: recorder.generation, person: recorder.person, version: cookies.version }
          if (SIGNING_IN.has(name)) announce()
          let nobody: (() => void) | undefined
          inner = next(op).subscribe({
            next(envelope: OperationResultEnvelope<unknown, TRPCClientError<AnyRouter>>) {
              const deliver = () => {
                if ('data' in envelope.result && op.type !== 'subscription') note(name, envelope.result.data, start.generation)
                observer.next(envelope)
              }
              // What a replaced token is told by a procedure that anybody may call.
              if (name === 'me' && 'data' in envelope.result && envelope.result.data === null) nobody = deliver
              else deliver()
            },
            error(error) {
              // Before anything is waited for: two of these calls would wait for each other.
              answered?.()
              const reason = reasonOf(error)
              if (done || (reason !== 'session_ended' && reason !== 'not_signed_in')) return fail(error)
              const mine = mayRecover && reason === 'session_ended' ? recover : null
              mayRecover &&= mine === null
              void settle(start, mine, async () => {
                await noteFailure(reason, start).catch(() => {
                  // The call's own error tells more than a store that could not be written.
                })
                fail(error)
              })
            },
            complete() {
              if (nobody === undefined) return complete()
              const deliver = nobody
              void settle(start, null, () => {
                deliver()
                complete()
              })
            },
          })
        }

        async function settle(start: Start, recover: Recover, giveUp: () => unknown) {
          const isWorthIt = left > 0 && (await isRenewed(name, start, recover).catch(() => false))
          if (done) return
          if (isWorthIt) send()
          else await giveUp()
        }

        function announce(): void {
          const { promise, resolve } = Promise.withResolvers<void>()
          signingIn.add(promise)
          answered = () => {
            signingIn.delete(promise)
            resolve()
          }
        }

        function complete(): void {
          finish()
          observer.complete()
        }

        function fail(error: TRPCClientError<AnyRouter>): void {
          if (done) return
          finish()
          observer.error(error)
        }

        send()
        return () => {
          finish()
          inner?.unsubscribe()
        }
      })
}

function closedError() {
  return TRPCClientError.from(new Error('this client was closed'))
}

/** Where the client stood when a call was sent. */
interface Start {
  readonly generation: number
  readonly person: number
  readonly version: number
}
