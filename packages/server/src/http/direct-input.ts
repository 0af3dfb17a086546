import { type AnyRouter, TRPCError } from '@trpc/server'
import type { DirectRequest } from './direct-request.ts'

/** The inputs of a request, decoded when a procedure first asks for its own. */
export interface Inputs {
  read(index: number): Promise<unknown>
  /** What was read already. */
  known(index: number): unknown
}

export function createInputs(request: DirectRequest & { readonly body: string }, router: AnyRouter): Inputs {
  let reading: Promise<Record<number, unknown>> | undefined
  let known: Record<number, unknown> | undefined

  async function readAll(): Promise<Record<number, unknown>> {
    try {
      known = parse(request.type === 'query' ? request.query : request.body, request, router)
      return known
    } catch (cause) {
      if (cause instanceof TRPCError) throw cause
      throw new TRPCError({ code: 'BAD_REQUEST', message: cause instanceof Error ? cause.message : 'Invalid input', cause })
    }
  }

  return {
    async read(index) {
      reading ??= readAll()
      return (await reading)[index]
    },
    known: (index) => known?.[index],
  }
}

function parse(text: string | undefined, { isBatchCall, paths }: DirectRequest, router: AnyRouter): Record<number, unknown> {
  const inputs = Object.create(null) as Record<number, unknown>
  const { deserialize } = router._def._config.transformer.input
  const value: unknown = text === undefined || text === '' ? undefined : JSON.parse(text)
  if (value === undefined) return inputs
  if (!isBatchCall) {
    inputs[0] = deserialize(value)
    return inputs
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TRPCError({ code: 'BAD_REQUEST', message: '"input" needs to be an object when doing a batch call' })
  }
  for (const index of paths.keys()) {
    const input = (value as Record<number, unknown>)[index]
    if (input !== undefined) inputs[index] = deserialize(input)
  }
  return inputs
}
