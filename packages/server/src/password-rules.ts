import { COMMON_PASSWORDS } from './common-passwords.ts'
import { AuthError, invalidInput } from './errors.ts'
import { canonicalPassword, passwordLength, passwordSchema } from './password-schema.ts'

const SHORTEST_RUN = 4
const OWN_SERVICE = 'trpc-login'
// Rows of keys and alphabets, as they are typed on and on and backwards.
const ROWS = [
  'abcdefghijklmnopqrstuvwxyz',
  '01234567890123456789',
  'qwertyuiopasdfghjklzxcvbnm',
  'qwertzuiopasdfghjklyxcvbnm',
  'azertyuiopqsdfghjklmwxcvbn',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p',
  '!@#$%^&*()_+',
].flatMap((row) => [
  row + row,
  Array.from(row + row)
    .toReversed()
    .join(''),
])
const LONGEST_ROW = Math.max(...ROWS.map((row) => row.length))
let common: { readonly words: ReadonlySet<string>; readonly longest: number } | undefined

/** What a new password is held against. */
export interface PasswordRules {
  /** In characters. */
  readonly minLength: number
  /** Words that say nothing here, such as the service's name. */
  readonly contextWords: readonly string[]
}

/** Whose password it is to be. */
export interface PasswordOwner {
  readonly username: string
  readonly email: string | null
}

/**
 * Refuses a new password that is short or among those that are tried first: a common one, a row of keys, the name of its owner
 * or of the service, two of these in a row, or anything over and over. Its work is linear in the length of the password.
 * @throws `weak_password`, saying why; `invalid_input` for what is no password at all
 */
export function requireStrongPassword(password: string, { minLength, contextWords }: PasswordRules, owner: PasswordOwner): void {
  const [problem] = passwordSchema.safeParse(password).error?.issues ?? []
  if (problem !== undefined) throw invalidInput([{ path: ['password'], message: problem.message }])
  const canonical = canonicalPassword(password)
  const folded = canonical.toLowerCase()
  const length = passwordLength(canonical)
  if (length < minLength) throw weak(`Use at least ${minLength} characters; this one has ${length}`)
  const unit = repeatedUnit(folded)
  if (unit.length < folded.length && unit.length < 8) throw weak('Use more than a few repeated characters')
  const own = ownWords(owner)
  if (own.some((word) => folded.replaceAll(word, '').length < 4)) throw weak('Use something other than your own name or address')
  if (isGuessable(unit, [...own, OWN_SERVICE, ...contextWords.map(fold)])) {
    throw weak('This is among the passwords that are tried first; use several words that do not belong together')
  }
}

/** The shortest beginning that, over and over, makes the whole text. */
function repeatedUnit(text: string): string {
  // How much of the text's beginning ends at each place (Knuth, Morris, Pratt): what is left of the whole is its period.
  const borders = [0]
  for (let at = 1, border = 0; at < text.length; at += 1) {
    while (border > 0 && text[at] !== text[border]) border = borders[border - 1] ?? 0
    if (text[at] === text[border]) border += 1
    borders.push(border)
  }
  const period = text.length - (borders.at(-1) ?? 0)
  return period <= text.length / 2 ? text.slice(0, period) : text
}

/** Whether the text is a well-known piece, or two of them in a row. */
function isGuessable(text: string, words: readonly string[]): boolean {
  const { longest } = commonPasswords()
  const limit = Math.max(longest, LONGEST_ROW, ...words.map((word) => word.length))
  if (isKnown(text, words)) return true
  // Pieces longer than the longest that is known need no look.
  for (let end = Math.max(SHORTEST_RUN, text.length - limit); end <= Math.min(limit, text.length - SHORTEST_RUN); end += 1) {
    if (isKnown(text.slice(0, end), words) && isKnown(text.slice(end), words)) return true
  }
  return false
}

function isKnown(piece: string, words: readonly string[]): boolean {
  if (piece.length < SHORTEST_RUN) return false
  return (
    commonPasswords().words.has(piece) || words.includes(piece) || (piece.length <= LONGEST_ROW && ROWS.some((row) => row.includes(piece)))
  )
}

function commonPasswords() {
  if (common === undefined) {
    const words = new Set(COMMON_PASSWORDS.trim().split(/\s+/))
    common = { words, longest: Math.max(...Array.from(words, (word) => word.length)) }
  }
  return common
}

function ownWords({ username, email }: PasswordOwner): string[] {
  const words = [username, email, ...(email?.split('@') ?? [])]
  return words.filter((word) => word !== null && word.length >= SHORTEST_RUN).map((word) => fold(word as string))
}

function fold(word: string): string {
  return canonicalPassword(word).toLowerCase()
}

function weak(message: string): AuthError {
  return new AuthError('weak_password', { message, issues: [{ path: ['password'], message }] })
}
