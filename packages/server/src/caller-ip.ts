import { type ClientAddress, createClientAddress, readHop } from './address.ts'
import type { Log } from './log.ts'
import { type ContextRequest, header, peerOf } from './request.ts'

/** Whose request it is, as far as anybody can tell. */
export type CallerIp = (request: ContextRequest, given: { readonly ip?: string | null | undefined }) => string | null

/**
 * Takes what the application says, else what its option `clientIp` finds, else the connection behind trusted proxies. Says once what
 * an operator has to know: that there is no ip, or that one which a proxy may have named was not read.
 */
export function createCallerIp(deps: {
  trustedProxies: readonly string[]
  clientIp?: ((req: ContextRequest['req']) => string | null) | undefined
  log: Log
}): CallerIp {
  const { trustedProxies, clientIp, log } = deps
  const ofConnection: ClientAddress = createClientAddress(trustedProxies)
  const warned = new Set<string>()

  function warnOnce(event: string, advice: string): void {
    if (warned.has(event)) return
    warned.add(event)
    log.warn({ advice }, event)
  }

  function find(request: ContextRequest, { ip }: { readonly ip?: string | null | undefined }): string | null {
    if (ip !== undefined) return ip === null ? null : readHop(ip)
    if (clientIp !== undefined) return readHop(clientIp(request.req) ?? '')
    const [peer, forwardedFor] = [peerOf(request), header(request, 'x-forwarded-for')]
    const found = ofConnection(peer, forwardedFor)
    if (forwardedFor !== undefined && found !== null && (peer === found || peer === `::ffff:${found}`)) {
      warnOnce('forwarded_for_ignored', 'X-Forwarded-For came from a peer that is not in the option trustedProxies; it was not read')
    }
    return found
  }

  return (request, given) => {
    const found = find(request, given)
    if (found === null) {
      warnOnce(
        'client_ip_unknown',
        'Callers have no ip, so limits by ip do not hold: give one address as createContext(opts, { ip }), or by the option clientIp',
      )
    }
    return found
  }
}
