import { BlockList, isIP } from 'node:net'

/** Finds the caller's address behind the proxies that are trusted to name it; without a peer where they alone can be it. */
export type ClientAddress = (peer: string | undefined, forwardedFor: string | undefined) => string | null

// No chain of proxies is longer; what stands further left was written by the caller.
const MAX_HOPS = 32
const MAX_HOP_LENGTH = 64

/**
 * Reads `X-Forwarded-For` from right to left and stops at the first hop that is not trusted: whatever stands further left
 * was written by the caller.
 */
export function createClientAddress(trustedProxies: readonly string[]): ClientAddress {
  const trusted = parseRanges(trustedProxies)
  const isTrusted = (ip: string) => trusted.check(ip, isIP(ip) === 6 ? 'ipv6' : 'ipv4')
  return (peer, forwardedFor) => {
    let ip = canonicalIp(peer ?? '')
    let end = forwardedFor?.length ?? 0
    // An adapter that tells of no connection: whoever names proxies says that all requests come by way of them.
    let isBehind = peer === undefined ? trustedProxies.length > 0 : ip !== null && isTrusted(ip)
    for (let hops = 0; isBehind && end > 0 && hops < MAX_HOPS; hops += 1) {
      const comma = forwardedFor?.lastIndexOf(',', end - 1) ?? -1
      const hop = readHop(forwardedFor?.slice(comma + 1, end) ?? '')
      if (hop === null) break
      ip = hop
      end = comma
      isBehind = isTrusted(hop)
    }
    return ip
  }
}

const LOOPBACK = parseRanges(['127.0.0.0/8', '::1'])

/** Whether only this machine reaches a host, by its IP or as `localhost` (RFC 6761 section 6.3). */
export function isLoopback(host: string): boolean {
  const ip = canonicalIp(host)
  return ip === null ? /^(?:.*\.)?localhost\.?$/i.test(host) : LOOPBACK.check(ip, isIP(ip) === 6 ? 'ipv6' : 'ipv4')
}

/** What limits count by: an IPv4 address, or the /64 that one IPv6 customer has; callers without an address share one. */
export function addressBucket(address: string | null): string {
  const ip = address === null ? null : canonicalIp(address)
  if (ip === null) return 'none'
  return isIP(ip) === 4 ? ip : `${groupsOf(ip).slice(0, 4).join(':')}::/64`
}

/** The one spelling of an IP: IPv4 through an IPv6 socket (RFC 4291 section 2.5.5.2) is the same caller, however it is written. */
export function canonicalIp(text: string): string | null {
  const version = isIP(text)
  if (version !== 6) return version === 4 ? text : null
  const compressed = compress(text)
  const [a, b, c, d, e, f, high = '0', low = '0'] = groupsOf(compressed)
  if ([a, b, c, d, e].some((group) => group !== '0') || f !== 'ffff') return compressed
  return [high, low].flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]).join('.')
}

/** Lower-case and without zone (RFC 5952). */
function compress(ipv6: string): string {
  const [plain = ''] = ipv6.split('%', 1)
  return (URL.parse(`http://[${plain}]`)?.hostname ?? '[]').slice(1, -1)
}

/** All eight groups of a compressed address. */
function groupsOf(compressed: string): string[] {
  const [head = [], tail] = compressed.split('::').map((part) => part.split(':').filter((group) => group !== ''))
  const missing = tail === undefined ? 0 : 8 - head.length - tail.length
  return [...head, ...Array.from({ length: missing }, () => '0'), ...(tail ?? [])]
}

/** One entry of `X-Forwarded-For`, as gateways write it: bare, in brackets, in quotes, with a port; `null` for what names no address. */
export function readHop(entry: string): string | null {
  const trimmed = entry.trim()
  if (trimmed.length > MAX_HOP_LENGTH) return null
  const text = trimmed.replace(/^"(.*)"$/, '$1').trim()
  const [, bracketed, dotted] = /^\[([^\]]*)\](?::\d{1,5})?$|^([\d.]+):\d{1,5}$/.exec(text) ?? []
  return canonicalIp(bracketed ?? dotted ?? text)
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
    const ip = canonicalIp(address) ?? address
    // A range of mapped addresses is one of IPv4, because that is what callers' addresses are folded to.
    if (version === 6 && isIP(ip) === 4 && bits >= 96) list.addSubnet(ip, bits - 96, 'ipv4')
    else list.addSubnet(address, bits, version === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}
