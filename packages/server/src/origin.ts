/** What the origin rule looks at, as the request carries it. */
export interface OriginEvidence {
  readonly origin: string | undefined
  readonly fetchSite: string | undefined
  readonly host: string | undefined
}

/**
 * Whether a request may act with the caller's cookie: same origin, an allowed one, or no browser at all.
 * `Origin` decides where there is one; Fetch Metadata speaks for browsers that send none.
 */
export function isAllowedOrigin(evidence: OriginEvidence, allowed: ReadonlySet<string>): boolean {
  const { origin, fetchSite, host } = evidence
  if (origin !== undefined) return allowed.has(origin) || (host !== undefined && origin === `https://${host.toLowerCase()}`)
  return fetchSite === undefined || fetchSite === 'same-origin' || fetchSite === 'none'
}

/** The exact origin of a URL; what is not one is refused, so that a slip in a list never allows more than it says. */
export function parseOrigin(text: string): string {
  const url = URL.parse(text)
  if (url === null || url.protocol !== 'https:' || url.origin !== text.replace(/\/$/, '') || text.includes('*')) {
    throw new TypeError(`an origin looks like https://app.example.com, got ${JSON.stringify(text)}`)
  }
  return url.origin
}
