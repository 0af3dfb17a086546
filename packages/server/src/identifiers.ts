import { z } from 'zod'

const MAX_USERNAME = 64
const MAX_EMAIL = 254
const USERNAME = /^[\p{L}\p{Nd}._-][\p{L}\p{M}\p{Nd}._-]*$/u
const EMAIL = /^[^\s@"(),:;<>[\\\]\p{C}\p{Default_Ignorable_Code_Point}]+@[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}.-]*[\p{L}\p{M}\p{N}])?$/u
// Two names that differ only in these cannot be told apart.
const INVISIBLE = /\p{Default_Ignorable_Code_Point}/u
const LINE_END_OR_CONTROL = /[\p{Cc}\p{Zl}\p{Zp}]/u
// They turn what is written around a name.
const BIDI_CONTROL = /\p{Bidi_Control}/u
const VISIBLE = /[^\p{Default_Ignorable_Code_Point}\p{Z}\p{C}]/u

/** The form in which usernames are compared: two that look alike after folding are one. */
export function usernameKey(username: string): string {
  // Up and down again folds what lower-casing alone keeps apart, such as ß and ss or the two small sigmas.
  return username.normalize('NFKC').toUpperCase().toLowerCase().normalize('NFKC')
}

/** The one spelling in which an address is stored, compared and mailed to; `null` where it is not an address. */
export function canonicalEmail(email: string): string | null {
  // To normalise takes quadratic time where marks follow marks.
  if (email.length > MAX_EMAIL) return null
  // Normalise first, then check: U+FF20 becomes an at sign (CVE-2026-73420).
  const canonical = email.normalize('NFKC').toLowerCase()
  return Buffer.byteLength(canonical) <= MAX_EMAIL && EMAIL.test(canonical) ? canonical : null
}

/** What somebody types to be found by. Phone keyboards append a blank, which is no part of it; a line's end is refused. */
function typed(max: number, message: string) {
  return z
    .string()
    .max(max, { error: message, abort: true })
    .refine((text) => !LINE_END_OR_CONTROL.test(text), { error: 'Must not contain line ends or control characters', abort: true })
    .trim()
}

/** What a caller types to say who they are; its form tells nothing about which accounts exist. */
export const identifierSchema = typed(256, 'At most 256 characters')
  .min(1, 'Must not be empty')
  .refine((text) => !/\p{C}/u.test(text), 'Must not contain invisible characters')

export const usernameSchema = typed(4 * MAX_USERNAME, `At most ${MAX_USERNAME} characters`)
  .transform((text) => text.normalize('NFKC'))
  .refine((text) => !INVISIBLE.test(text), { error: 'Must not contain invisible characters', abort: true })
  .refine((text) => USERNAME.test(text), 'Use letters, digits, ".", "_" and "-" only')
  .refine((text) => Array.from(text).length <= MAX_USERNAME, `At most ${MAX_USERNAME} characters`)

export const emailSchema = typed(MAX_EMAIL, `At most ${MAX_EMAIL} characters`)
  .refine((text) => text.isWellFormed() && canonicalEmail(text) !== null, 'Not an e-mail address')
  .transform((text) => canonicalEmail(text) ?? '')

export const nameSchema = z
  .string()
  .max(200, { error: 'At most 200 characters', abort: true })
  .refine((text) => text.isWellFormed(), 'Must be well-formed Unicode')
  .refine((text) => !LINE_END_OR_CONTROL.test(text), 'Must not contain line ends or control characters')
  .refine((text) => !BIDI_CONTROL.test(text), 'Must not contain characters that change the direction of text')
  .refine((text) => VISIBLE.test(text), 'Must not be empty')
  .trim()

export const roleSchema = z.string().regex(/^[a-z][a-z0-9_-]{0,63}$/, 'A role is a lower-case word of at most 64 characters')
export const rolesSchema = z.array(roleSchema).max(50, 'At most 50 roles')
