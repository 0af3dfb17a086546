import { randomBytes } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { hash, verify } from '@node-rs/argon2'
import { z } from 'zod'
import { AuthError } from './errors.ts'
import { createWorkQueue } from './work-queue.ts'

/** Cost of one hash; the defaults are the floor (OWASP Password Storage: 19 MiB, 2 passes, 1 lane). */
export interface PasswordParameters {
  readonly memoryKiB: number
  readonly iterations: number
  readonly parallelism: number
}

/** Argon2id with one set of parameters. */
export interface Passwords {
  hash(password: string): Promise<string>
  /**
   * Whether the password belongs to the hash. Without a hash it works as long and answers `false`, so that callers cannot
   * tell which accounts exist.
   */
  verify(password: string, hash: string | null): Promise<boolean>
  /** Whether a stored hash is weaker than what is asked for today. */
  isOutdated(hash: string): boolean
}

const PHC = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$/
const MAX_LENGTH = 256
const MAX_WAITING = 64
const MAX_WAIT_MS = 2000

export function createPasswords(parameters: PasswordParameters): Passwords {
  const { memoryKiB, iterations, parallelism } = parameters
  // The library's default algorithm is argon2id; its enum is an ambient const one, which erasable TypeScript cannot read.
  const queue = createWorkQueue({ atOnce: availableParallelism(), waiting: MAX_WAITING, waitMs: MAX_WAIT_MS })
  const hashNow = (password: string) =>
    hash(canonical(password), { memoryCost: memoryKiB, timeCost: iterations, parallelism, outputLen: 32 })
  let decoy: Promise<string> | undefined

  return {
    hash: (password) => queue(() => hashNow(password)),
    async verify(password, stored) {
      decoy ??= hashNow(randomBytes(32).toString('base64url'))
      const against = stored ?? (await decoy)
      const matches = await queue(() => verify(against, canonical(password)))
      return stored !== null && matches
    },
    isOutdated(stored) {
      const [, m, t, p] = PHC.exec(stored) ?? []
      return Number(m ?? 0) < memoryKiB || Number(t ?? 0) < iterations || Number(p ?? 0) < parallelism
    },
  }
}

/** Composed and decomposed spellings are one password (NIST SP 800-63B-4 section 3.1.1.2). */
function canonical(password: string): string {
  return password.normalize('NFC')
}

/** Any password as typed: long ones are refused, never cut; a lone surrogate has no UTF-8 form and would equal others. */
export const passwordSchema = z
  .string()
  .max(MAX_LENGTH * 4, `At most ${MAX_LENGTH} characters`)
  .refine((text) => Array.from(text).length <= MAX_LENGTH, `At most ${MAX_LENGTH} characters`)
  .refine((text) => text.isWellFormed(), 'Must be well-formed Unicode')

/** What a new password is held against, beside its length. */
export interface PasswordOwner {
  readonly username: string
  readonly email: string | null
}

/**
 * Refuses a new password that is too short or easy to guess from its owner's name.
 * @throws `weak_password`, saying why
 */
export function requireStrongPassword(password: string, minLength: number, owner: PasswordOwner): void {
  const folded = canonical(password).toLowerCase()
  const length = Array.from(canonical(password)).length
  if (length < minLength) throw weak(`Use at least ${minLength} characters; this one has ${length}`)
  if (new Set(folded).size < 4) throw weak('Use more than a few repeated characters')
  if (ownWords(owner).some((word) => folded.replaceAll(word, '').length < 4)) {
    throw weak('Use something other than your own name or address')
  }
}

function ownWords({ username, email }: PasswordOwner): string[] {
  const words = [username, email, ...(email?.split('@') ?? [])]
  return words.filter((word) => word !== null && word.length >= 4).map((word) => canonical(word as string).toLowerCase())
}

function weak(message: string): AuthError {
  return new AuthError('weak_password', { message, issues: [{ path: ['password'], message }] })
}
