/** What the origin rule looks at, as the request carries it. */
export interface OriginEvidence {
  readonly origin: string | undefined
  readonly fetchSite: string | undefined
  readonly host: string | undefined
}

/**
 * Whether a request may act with the caller's cookie: same origin, an allowed one, or no browser at all. A browser's own word about a
 * page of this very origin counts, also where a proxy has changed the host; else `Origin` decides where there is one.
 */
export function isAllowedOrigin(evidence: OriginEvidence, allowed: ReadonlySet<string>): boolean {
  const { origin, fetchSite, host } = evidence
  if (fetchSite === 'same-origin') return true
  if (origin !== undefined) return allowed.has(origin) || (host !== undefined && origin === originOf(host))
  return fetchSite === undefined || fetchSite === 'none'
}

/** As browsers write it, who leave out the port that `https:` has by itself. */
function originOf(host: string): string {
  return `https://${host.toLowerCase().replace(/:443$/, '')}`
}

/** The exact origin of a URL; what is not one is refused, so that a slip in a list never allows more than it says. */
export function parseOrigin(text: string): string {
  const url = URL.parse(text)
  if (url === null || url.protocol !== 'https:' || url.origin !== text.replace(/\/$/, '') || text.includes('*')) {
    throw new TypeError(`an origin looks like https://app.example.com, got ${JSON.stringify(text)}`)
  }
  return url.origin
}
