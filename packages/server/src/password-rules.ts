import { z } from 'zod'
import { COMMON_PASSWORDS } from './common-passwords.ts'
import { AuthError } from './errors.ts'

const MAX_LENGTH = 256
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
let common: ReadonlySet<string> | undefined

/** Composed and decomposed spellings are one password (NIST SP 800-63B-4 section 3.1.1.2). */
export function canonicalPassword(password: string): string {
  return password.normalize('NFC')
}

/** Any password as typed: long ones are refused, never cut; a lone surrogate has no UTF-8 form and would equal others. */
export const passwordSchema = z
  .string()
  .max(MAX_LENGTH * 4, `At most ${MAX_LENGTH} characters`)
  .refine((text) => Array.from(text).length <= MAX_LENGTH, `At most ${MAX_LENGTH} characters`)
  .refine((text) => text.isWellFormed(), 'Must be well-formed Unicode')

/** What a new password is held against. */
interface PasswordRules {
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
 * or of the service, two of these in a row, or anything over and over.
 * @throws `weak_password`, saying why
 */
export function requireStrongPassword(password: string, { minLength, contextWords }: PasswordRules, owner: PasswordOwner): void {
  const folded = canonicalPassword(password).toLowerCase()
  const length = Array.from(canonicalPassword(password)).length
  if (length < minLength) throw weak(`Use at least ${minLength} characters; this one has ${length}`)
  const unit = repeatedUnit(folded)
  if (unit.length < folded.length && unit.length < 8) throw weak('Use more than a few repeated characters')
  const own = ownWords(owner)
  if (own.some((word) => folded.replaceAll(word, '').length < 4)) throw weak('Use something other than your own name or address')
  if (guessesNeeded(unit, [...own, OWN_SERVICE, ...contextWords.map(fold)]) <= 2) {
    throw weak('This is among the passwords that are tried first; use several words that do not belong together')
  }
}

/** The shortest beginning that, over and over, makes the whole text. */
function repeatedUnit(text: string): string {
  for (let size = 1; size <= text.length / 2; size += 1) {
    const unit = text.slice(0, size)
    if (unit.repeat(Math.ceil(text.length / size)).startsWith(text)) return unit
  }
  return text
}

/** Of how many well-known pieces the text is made; infinitely many when there is something else in it. */
function guessesNeeded(text: string, words: readonly string[]): number {
  common ??= new Set(COMMON_PASSWORDS.trim().split(/\s+/))
  const pieces = Array.from({ length: text.length + 1 }, (_, end) => (end === 0 ? 0 : Number.POSITIVE_INFINITY))
  for (let start = 0; start < text.length; start += 1) {
    for (let end = start + SHORTEST_RUN; end <= text.length; end += 1) {
      const piece = text.slice(start, end)
      const isKnown = common.has(piece) || words.includes(piece) || ROWS.some((row) => row.includes(piece))
      if (isKnown) pieces[end] = Math.min(pieces[end] as number, (pieces[start] as number) + 1)
    }
  }
  return pieces[text.length] as number
}

function ownWords({ username, email }: PasswordOwner): string[] {
  const words = [username, email, ...(email?.split('@') ?? [])]
  return words.filter((word) => word !== null && word.length >= 4).map((word) => fold(word as string))
}

function fold(word: string): string {
  return canonicalPassword(word).toLowerCase()
}

function weak(message: string): AuthError {
  return new AuthError('weak_password', { message, issues: [{ path: ['password'], message }] })
}
