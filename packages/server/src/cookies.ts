import { stringifySetCookie } from 'cookie'
import { isToken } from './tokens.ts'

/** The prefix makes browsers insist on `Secure`, `Path=/` and no `Domain` (RFC 6265bis section 4.1.3.2). */
export const SESSION_COOKIE = '__Host-session'

/** What binds a sign-in with a provider to the browser in which it began. */
export const SIGN_IN_COOKIE = '__Host-sign-in'

/**
 * The token that a cookie of a `Cookie` header, or `null`. Names are compared byte by byte after trimming space and tab only,
 * and a name that comes twice counts as none: lenient readers are how the prefix gets bypassed.
 */
export function readToken(header: string | null | undefined, name: typeof SESSION_COOKIE | typeof SIGN_IN_COOKIE): string | null {
  if (header === null || header === undefined || !header.includes(name)) return null
  const values: string[] = []
  for (const pair of header.split(';')) {
    const equals = pair.indexOf('=')
    if (equals === -1 || trimBlank(pair.slice(0, equals)) !== name) continue
    values.push(trimBlank(pair.slice(equals + 1)))
  }
  const [value] = values
  return values.length === 1 && value !== undefined && isToken(value) ? value : null
}

// Not String.trim: it also takes characters, such as U+00A0, that make two names look alike. Not a regular expression either:
// one that is anchored at the end tries every run of blanks anew, in quadratic time.
function trimBlank(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

/** The `Set-Cookie` value that carries a token; `maxAgeMs` only for remembered sessions, the server decides anyway. */
export function sessionCookie(token: string, maxAgeMs: number | null): string {
  const maxAge = maxAgeMs === null ? {} : { maxAge: Math.max(1, Math.floor(maxAgeMs / 1000)) }
  return stringifySetCookie({ name: SESSION_COOKIE, value: token, ...ATTRIBUTES, ...maxAge })
}

/** The `Set-Cookie` value that binds sign-ins under way to this browser, for as long as they may take. */
export function signInCookie(token: string, maxAgeMs: number): string {
  return stringifySetCookie({ name: SIGN_IN_COOKIE, value: token, ...ATTRIBUTES, maxAge: Math.floor(maxAgeMs / 1000) })
}

/** The `Set-Cookie` value that makes a client forget its session. */
export function clearedSessionCookie(): string {
  return stringifySetCookie({ name: SESSION_COOKIE, value: '', ...ATTRIBUTES, maxAge: 0 })
}

const ATTRIBUTES = { path: '/', secure: true, httpOnly: true, sameSite: 'lax' } as const
