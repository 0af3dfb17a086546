const MAX_LENGTH = 2000
// What some reader on the way would take for the start of an authority, or would drop: RFC 9700 section 4.11, CVE-2025-27143.
const SUSPICIOUS = /[\\@\p{C}\s]|%(?:2f|5c|0[0-9a-f]|1[0-9a-f]|7f)/iu
const ORIGIN = 'https://own.invalid'

/** A path of our own to go to after a sign-in; whatever is not surely one becomes `/`. */
export function safeReturnTo(text: string | undefined): string {
  if (text === undefined || text.length > MAX_LENGTH || !text.startsWith('/') || text.startsWith('//') || SUSPICIOUS.test(text)) return '/'
  const url = URL.parse(text, ORIGIN)
  if (url === null || url.origin !== ORIGIN) return '/'
  const path = `${url.pathname}${url.search}${url.hash}`
  // Dots are folded by now, and may have laid two slashes bare.
  return path.startsWith('//') ? '/' : path
}

/** Whether a text is a path of our own, as a page of the application has one. */
export function isPagePath(text: string): boolean {
  return text !== '/' && safeReturnTo(text) === text && !/[?#]/.test(text)
}
