import { BlockList, isIP } from 'node:net'

/** Finds the caller's address behind the proxies that are trusted to name it. */
export type ClientAddress = (peer: string | undefined, forwardedFor: string | undefined) => string | null

/**
 * Reads `X-Forwarded-For` from right to left and stops at the first hop that is not trusted: whatever stands further left
 * was written by the caller.
 */
export function createClientAddress(trustedProxies: readonly string[]): ClientAddress {
  const trusted = parseRanges(trustedProxies)
  const isTrusted = (address: string) => trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  return (peer, forwardedFor) => {
    let address = unmap(peer ?? '')
    if (isIP(address) === 0) return null
    const hops = forwardedFor?.split(',') ?? []
    while (isTrusted(address) && hops.length > 0) {
      const hop = unmap(hops.pop()?.trim() ?? '')
      if (isIP(hop) === 0) break
      address = hop
    }
    return address
  }
}

/** What limits count by: an IPv4 address, or the /64 that one IPv6 customer has; callers without an address share one. */
export function addressBucket(address: string | null): string {
  if (address === null || isIP(address) === 0) return 'none'
  if (isIP(address) === 4) return address
  const [head = '', tail] = (URL.parse(`http://[${address}]`)?.hostname ?? '').slice(1, -1).split('::')
  const missing = tail === undefined ? 0 : 8 - groups(head).length - groups(tail).length
  const all = [...groups(head), ...Array.from({ length: missing }, () => '0'), ...groups(tail)]
  return `${all.slice(0, 4).join(':')}::/64`
}

function groups(text: string | undefined): string[] {
  return (text ?? '').split(':').filter((group) => group !== '')
}

function parseRanges(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix, ...rest] = range.split('/')
    const version = isIP(address)
    const bits = prefix === undefined ? (version === 6 ? 128 : 32) : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN
    if (version === 0 || rest.length > 0 || !(bits <= (version === 6 ? 128 : 32))) {
      throw new TypeError(`a trusted proxy is an address or a CIDR such as 10.0.0.0/8, got ${JSON.stringify(range)}`)
    }
    list.addSubnet(address, bits, version === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}

/** IPv4 through an IPv6 socket (RFC 4291 section 2.5.5.2) is the same caller. */
function unmap(address: string): string {
  return address.replace(/^::ffff:(?=\d+\.)/i, '').replace(/%.*$/, '')
}
