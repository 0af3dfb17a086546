import { randomBytes } from 'node:crypto'
import { hash, verify } from '@node-rs/argon2'
import { readForeignHash } from './foreign-hashes.ts'
import { type PasswordOwner, type PasswordRules, requireStrongPassword } from './password-rules.ts'
import { canonicalPassword } from './password-schema.ts'
import { createWorkQueue } from './work-queue.ts'

/** Cost of one hash; the defaults are the floor (OWASP Password Storage: 19 MiB, 2 passes, 1 lane). */
export interface PasswordParameters {
  readonly memoryKiB: number
  readonly iterations: number
  readonly parallelism: number
}

/** How much of the machine hashing may take. */
export interface PasswordOptions extends PasswordParameters, PasswordRules {
  readonly atOnce: number
}

/** Argon2id with one set of parameters. */
export interface Passwords {
  hash(password: string): Promise<string>
  /**
   * Judges a new password and hashes it, in one turn of the queue: to judge costs work too.
   * @throws `weak_password`, `invalid_input`, `overloaded`
   */
  hashNew(password: string, owner: PasswordOwner): Promise<string>
  /**
   * Whether the password belongs to the hash. Without a hash it works as long and answers `false`, so that callers cannot
   * tell which accounts exist.
   */
  verify(password: string, hash: string | null): Promise<boolean>
  /** Refuses early what would be refused later, so that a flood costs no more than its refusal. @throws `overloaded` */
  requireCapacity(): void
  /** Whether a stored hash is weaker than what is asked for today. */
  isOutdated(hash: string): boolean
}

const PHC = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$/
const MAX_WAITING = 64
const MAX_WAIT_MS = 2000

export function createPasswords(options: PasswordOptions): Passwords {
  const { memoryKiB, iterations, parallelism, atOnce } = options
  // The library's default algorithm is argon2id; its enum is an ambient const one, which erasable TypeScript cannot read.
  const queue = createWorkQueue({ atOnce, waiting: MAX_WAITING, waitMs: MAX_WAIT_MS })
  const hashNow = (password: string) =>
    hash(canonicalPassword(password), { memoryCost: memoryKiB, timeCost: iterations, parallelism, outputLen: 32 })
  let decoy: Promise<string> | undefined

  return {
    hash: (password) => queue.run(() => hashNow(password)),
    hashNew: (password, owner) =>
      queue.run(async () => {
        requireStrongPassword(password, options, owner)
        return hashNow(password)
      }),
    async verify(password, stored) {
      decoy ??= hashNow(randomBytes(32).toString('base64url'))
      const against = stored ?? (await decoy)
      const matches = await queue.run(() => check(against, canonicalPassword(password)))
      return stored !== null && matches
    },
    requireCapacity: queue.requireRoom,
    isOutdated(stored) {
      const [, m, t, p] = PHC.exec(stored) ?? []
      return Number(m ?? 0) < memoryKiB || Number(t ?? 0) < iterations || Number(p ?? 0) < parallelism
    },
  }
}

/** Ours, or one that came with an import. */
async function check(stored: string, password: string): Promise<boolean> {
  if (PHC.test(stored)) return verify(stored, password)
  const foreign = readForeignHash(stored)
  return typeof foreign !== 'string' && foreign.verify(password)
}
