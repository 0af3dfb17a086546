// What a URL may hold unescaped, and escapes of what it may not: one spelling for each name, that in which clients send it.
const NAMES = /(?:[\w.~!$&'()*+,;=:@|[\]-]|%(?:2[0235]|3[CEF]|5E|60|7[BD]|[89A-F][0-9A-F]))+/y
const SLASH = 0x2f
const QUESTION_MARK = 0x3f

/**
 * Whether what stands between base path and `?` names procedures letter by letter: no trailing slash, no `.` or `..` to fold, no
 * escape that need not be, which layers in front and rules by path would read in another way than tRPC does.
 */
export function isExactPath(url: string, start: number): boolean {
  for (let at = start; ; ) {
    NAMES.lastIndex = at
    const [name] = NAMES.exec(url) ?? []
    if (name === undefined || name === '.' || name === '..') return false
    at += name.length
    const next = url.charCodeAt(at)
    if (at === url.length || next === QUESTION_MARK) return true
    if (next !== SLASH) return false
    at += 1
  }
}
