import { type Operation, type OperationResultEnvelope, TRPCClientError, type TRPCLink } from '@trpc/client'
import type { AnyRouter } from '@trpc/server'
import { observable, type Unsubscribable } from '@trpc/server/observable'
import { reasonOf } from './errors.ts'
import type { SessionRecorder } from './session.ts'

const SIGNING_IN = new Set(['login', 'register', 'reauthenticate', 'changePassword', 'oauth.finish'])
const SIGNING_OUT = new Set(['logout', 'account.delete'])
const ALONE = new Set([...SIGNING_IN, ...SIGNING_OUT, 'resetPassword', 'oauth.begin'])

/** Whether a call sets the cookie or checks a secret: such calls travel alone. */
export function travelsAlone(path: string, authPath: string): boolean {
  return ALONE.has(nameIn(path, authPath))
}

function nameIn(path: string, authPath: string): string {
  return path.startsWith(`${authPath}.`) ? path.slice(authPath.length + 1) : ''
}

/** Reads from the answers who is signed in, and gets an ended session back once where the application knows how. */
export function sessionLink<S>(deps: {
  authPath: string
  recorder: SessionRecorder<S>
  forget: () => Promise<void>
  /** One at a time for all calls; `null` when there is no way back. */
  recover: (() => Promise<void>) | null
  open: Set<Unsubscribable>
  isClosed: () => boolean
}): TRPCLink<AnyRouter> {
  const { authPath, recorder, forget, recover, open, isClosed } = deps

  function note(op: Operation, data: unknown, generation: number): void {
    const name = nameIn(op.path, authPath)
    if (SIGNING_IN.has(name)) recorder.signedIn(data as S)
    else if (SIGNING_OUT.has(name)) recorder.signedOut()
    else if (name === 'me' && recorder.generation === generation) {
      if (data === null) recorder.signedOut()
      else recorder.seen(data as S)
    }
  }

  async function noteFailure(reason: 'session_ended' | 'not_signed_in', generation: number): Promise<void> {
    if (recorder.generation !== generation) return
    if (reason === 'session_ended') recorder.ended()
    else recorder.signedOut()
    await forget()
  }

  return () =>
    ({ op, next }) =>
      observable((observer) => {
        if (isClosed()) {
          observer.error(TRPCClientError.from(new Error('this client was closed')))
          return
        }
        let inner: Unsubscribable | undefined
        let done = false
        const finish = () => {
          done = true
          open.delete(handle)
        }
        const handle: Unsubscribable = {
          unsubscribe() {
            const wasDone = done
            finish()
            inner?.unsubscribe()
            if (!wasDone) observer.error(TRPCClientError.from(new Error('this client was closed')))
          },
        }
        open.add(handle)

        function attempt(mayRecover: boolean): void {
          const generation = recorder.generation
          inner = next(op).subscribe({
            next(envelope: OperationResultEnvelope<unknown, TRPCClientError<AnyRouter>>) {
              if ('data' in envelope.result && op.type !== 'subscription') note(op, envelope.result.data, generation)
              observer.next(envelope)
            },
            error(error) {
              const reason = reasonOf(error)
              if (done || (reason !== 'session_ended' && reason !== 'not_signed_in')) return fail(error)
              void settle(error, reason, generation, mayRecover)
            },
            complete() {
              finish()
              observer.complete()
            },
          })
        }

        function fail(error: TRPCClientError<AnyRouter>): void {
          if (done) return
          finish()
          observer.error(error)
        }

        async function settle(
          error: TRPCClientError<AnyRouter>,
          reason: 'session_ended' | 'not_signed_in',
          generation: number,
          mayRecover: boolean,
        ) {
          if (mayRecover && recover !== null && reason === 'session_ended' && !travelsAlone(op.path, authPath)) {
            // Whoever signed in since this call began has recovered for it.
            const recovered =
              recorder.generation !== generation ||
              (await recover().then(
                () => true,
                () => false,
              ))
            if (recovered && !done) return attempt(false)
          }
          await noteFailure(reason, generation).catch(() => {
            // The call's own error tells more than a store that could not be written.
          })
          fail(error)
        }

        attempt(true)
        return () => {
          finish()
          inner?.unsubscribe()
        }
      })
}
