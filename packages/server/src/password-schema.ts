import { z } from 'zod'

const MAX_LENGTH = 256
// Four code units a character hold every decomposed spelling; beyond them nothing is normalised, which takes quadratic time.
const MAX_UNITS = MAX_LENGTH * 4

/** Composed and decomposed spellings are one password (NIST SP 800-63B-4 section 3.1.1.2). */
export function canonicalPassword(password: string): string {
  return password.normalize('NFC')
}

/**
 * Any password as typed: long ones are refused, never cut; a lone surrogate has no UTF-8 form and would equal others. Length is that
 * of the canonical form, which is what is hashed and judged: some characters grow to three.
 */
export const passwordSchema = z
  .string()
  .max(MAX_UNITS, { error: `At most ${MAX_LENGTH} characters`, abort: true })
  .refine((text) => text.isWellFormed(), 'Must be well-formed Unicode')
  .refine((text) => passwordLength(canonicalPassword(text)) <= MAX_LENGTH, `At most ${MAX_LENGTH} characters`)

/** In characters, as a person counts them. */
export function passwordLength(text: string): number {
  return Array.from(text).length
}
