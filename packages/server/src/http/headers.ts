/** On every answer, whatever it says (ASVS 3.4, OWASP REST Security). */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'Strict-Transport-Security': 'max-age=31536000; includeSubDomains',
  'Content-Security-Policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cache-Control': 'no-store',
}

/** An answer written by hand, for sockets on which Node could not even parse a request. */
export function rawResponse(status: number, phrase: string, more: Readonly<Record<string, string>> = {}): string {
  const headers = Object.entries({ ...SECURITY_HEADERS, ...more }).map(([name, value]) => `${name}: ${value}`)
  return [`HTTP/1.1 ${status} ${phrase}`, ...headers, 'Connection: close', 'Content-Length: 0', '', ''].join('\r\n')
}
