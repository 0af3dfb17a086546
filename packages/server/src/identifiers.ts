import { z } from 'zod'

const USERNAME = /^[\p{L}\p{Nd}._-][\p{L}\p{M}\p{Nd}._-]*$/u
const EMAIL = /^[^\s@"(),:;<>[\\\]\p{C}]+@[\p{L}\p{N}](?:[\p{L}\p{M}\p{N}.-]*[\p{L}\p{M}\p{N}])?$/u

/** The form in which usernames are compared: two that look alike after folding are one. */
export function usernameKey(username: string): string {
  // Up and down again folds what lower-casing alone keeps apart, such as ß and ss or the two small sigmas.
  return username.normalize('NFKC').toUpperCase().toLowerCase().normalize('NFKC')
}

/** The one spelling in which an address is stored, compared and mailed to; `null` where it is not an address. */
export function canonicalEmail(email: string): string | null {
  // Normalise first, then check: U+FF20 becomes an at sign (CVE-2026-73420).
  const canonical = email.normalize('NFKC').toLowerCase()
  return Buffer.byteLength(canonical) <= 254 && EMAIL.test(canonical) ? canonical : null
}

export const usernameSchema = z
  .string()
  .max(256, 'At most 64 characters')
  .transform((text) => text.normalize('NFKC'))
  .refine((text) => USERNAME.test(text), 'Use letters, digits, ".", "_" and "-" only')
  .refine((text) => Array.from(text).length <= 64, 'At most 64 characters')

export const emailSchema = z
  .string()
  .max(254, 'At most 254 characters')
  .refine((text) => text.isWellFormed() && canonicalEmail(text) !== null, 'Not an e-mail address')
  .transform((text) => canonicalEmail(text) ?? '')

export const nameSchema = z
  .string()
  .trim()
  .min(1, 'Must not be empty')
  .max(200, 'At most 200 characters')
  .refine((text) => text.isWellFormed() && !/\p{Cc}/u.test(text), 'Must not contain control characters')
