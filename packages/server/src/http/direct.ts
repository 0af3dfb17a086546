import type { IncomingMessage, ServerResponse } from 'node:http'
import { callTRPCProcedure, getTRPCErrorFromUnknown, type TRPCError } from '@trpc/server'
import type { CreateHTTPContextOptions } from '@trpc/server/adapters/standalone'
import type { TRPCRequestInfo } from '@trpc/server/http'
import { type AnswerOptions, createAnswer, type Outcome } from './direct-answer.ts'
import { createInputs } from './direct-input.ts'
import { createRequestReader, type DirectRequest, type ReaderOptions } from './direct-request.ts'

/** What tRPC's own handler is given too. */
export interface DirectOptions extends ReaderOptions, AnswerOptions {
  readonly createContext: (request: CreateHTTPContextOptions) => Promise<unknown>
}

/**
 * Answers the common requests as tRPC's own handler would, without the Web Request and Response that cost it more than
 * everything else. It takes what it is sure of and says whether it did; the rest is for tRPC's handler.
 */
export function createDirectPath(options: DirectOptions): (req: IncomingMessage, res: ServerResponse, body: string) => boolean {
  const { router, createContext, onError } = options
  const read = createRequestReader(options)
  const answer = createAnswer(options)

  return (req, res, body) => {
    const request = read(req)
    if (request === null) return false
    // What rejects is a transformer that cannot write even an error: nothing can be said, and the process must go on.
    handle(req, res, { ...request, body }).catch(() => res.destroy())
    return true
  }

  async function handle(req: IncomingMessage, res: ServerResponse, request: Received): Promise<void> {
    const info = createInfo(res, request)
    let ctx: unknown
    let refusal: TRPCError | undefined
    try {
      ctx = await createContext({ req, res, info })
    } catch (cause) {
      refusal = getTRPCErrorFromUnknown(cause)
    }
    const calls = info.calls.map((call) => run(call, { info, ctx, refusal }))
    const outcomes = calls.length === 1 ? [await (calls[0] as Promise<Outcome>)] : await Promise.all(calls)
    answer({ res, info, ctx }, outcomes)
  }

  async function run(call: Call, { info, ctx, refusal }: { info: Info; ctx: unknown; refusal: TRPCError | undefined }): Promise<Outcome> {
    const { path, getRawInput, batchIndex } = call
    try {
      if (refusal !== undefined) throw refusal
      return { data: await callTRPCProcedure({ router, path, getRawInput, ctx, type: info.type, signal: info.signal, batchIndex }) }
    } catch (cause) {
      const error = getTRPCErrorFromUnknown(cause)
      onError({ error, path, ctx })
      return { error }
    }
  }

  /** What `createContext` learns of the calls, of which none has run. */
  function createInfo(res: ServerResponse, request: Received): Info {
    const { type, isBatchCall, paths, procedures, url } = request
    const inputs = createInputs(request, router)
    const leaving = new AbortController()
    res.once('close', () => res.writableEnded || leaving.abort())
    const calls = paths.map((path, batchIndex) => ({
      batchIndex,
      path,
      procedure: procedures[batchIndex] ?? null,
      getRawInput: () => inputs.read(batchIndex),
      result: () => inputs.known(batchIndex),
    }))
    return { isBatchCall, accept: null, calls, type, connectionParams: null, signal: leaving.signal, url }
  }
}

/** With its body, which has come whole. */
type Received = DirectRequest & { readonly body: string }
type Info = TRPCRequestInfo & Pick<DirectRequest, 'type'>
type Call = TRPCRequestInfo['calls'][number]
