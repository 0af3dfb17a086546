import { httpBatchLink, httpLink, type TRPCLink } from '@trpc/client'
import type { AnyRouter, TRPCDataTransformer } from '@trpc/server'
import superjson from 'superjson'
import { platform } from '#platform'
import type { Bounds, Fetch } from './platform.ts'
import { travelsAlone } from './session-link.ts'
import { subscriptionLink } from './subscription-link.ts'

const MAX_BATCH = 10
const MAX_URL = 8000

/** How calls travel: what sets the cookie or checks a secret alone, all else in batches, subscriptions as event streams. */
export function createTransport(deps: {
  base: string
  authPath: string
  fetch: Fetch
  bounds: Bounds
  headers?: Readonly<Record<string, string>>
  transformer?: TRPCDataTransformer | null
}): TRPCLink<AnyRouter> {
  const { base: url, authPath, fetch, bounds, headers = {}, transformer = superjson } = deps
  // Whether a transformer belongs here depends on TRouter, which is not known in a generic function.
  const http = { url, ...(transformer === null ? {} : { transformer }), fetch: platform.bound(fetch, bounds), headers } as never
  const stream = subscriptionLink({
    url,
    transformer,
    open: (at, path) => platform.openSource(at, { fetch, headers, bounds, isShared: path === `${authPath}.events` }),
  })
  const alone = httpLink(http)
  const batch = httpBatchLink({ ...(http as object), maxItems: MAX_BATCH, maxURLLength: MAX_URL } as never)
  // tRPC's own splitLink says the same in more of the browser's bytes.
  return (runtime) => {
    const [runStream, runAlone, runBatch] = [stream(runtime), alone(runtime), batch(runtime)]
    return (call) => (call.op.type === 'subscription' ? runStream : travelsAlone(call.op.path, authPath) ? runAlone : runBatch)(call)
  }
}
