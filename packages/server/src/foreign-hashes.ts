import { createHash, pbkdf2, scrypt, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { verify as verifyArgon2 } from '@node-rs/argon2'
import { verify as verifyBcrypt } from '@node-rs/bcrypt'

// Above these a stored string, and with it whoever wrote it, would decide how long the server computes.
const MAX_PBKDF2 = 2_000_000
const MAX_BCRYPT_COST = 14
const MAX_SCRYPT_BYTES = 256 * 1024 * 1024
const MAX_ARGON2_KIB = 256 * 1024
const MAX_ARGON2_PASSES = 16
const MAX_LANES = 16

const pbkdf2Async = promisify(pbkdf2)
const scryptAsync = promisify<string, Buffer, number, object, Buffer>(scrypt)

/** A password hash of another system that can be checked here; it is replaced by one of ours at the first sign-in. */
export interface ForeignHash {
  verify(password: string): Promise<boolean>
}

type Reader = (match: RegExpExecArray) => ForeignHash | string

const READERS: readonly (readonly [RegExp, Reader])[] = [
  [/^(?:argon2)?(\$argon2(?:id|i|d)\$v=\d+\$m=(\d+),t=(\d+),p=(\d+)\$[\w+/]+\$[\w+/]+)$/, readArgon2],
  [/^(?:bcrypt\$)?(\$2[aby]\$(\d\d)\$[\w./]{53})$/, ([, hash = '', cost = '']) => readBcrypt(hash, cost, (password) => password)],
  // Django hashes first, so that nothing is cut at 72 bytes.
  [
    /^bcrypt_sha256\$(\$2[ab]\$(\d\d)\$[\w./]{53})$/,
    ([, hash = '', cost = '']) => readBcrypt(hash, cost, (password) => createHash('sha256').update(password).digest('hex')),
  ],
  // Werkzeug, which Flask uses.
  [
    /^pbkdf2:(sha1|sha256|sha512):(\d{1,9})\$([^$]+)\$([0-9a-f]+)$/,
    ([, digest = '', rounds = '', salt = '', hash = '']) => readPbkdf2(digest, Number(rounds), salt, Buffer.from(hash, 'hex')),
  ],
  [
    /^scrypt:(\d{1,12}):(\d{1,3}):(\d{1,3})\$([^$]+)\$([0-9a-f]+)$/,
    ([, n, r, p, salt = '', hash = '']) => readScrypt([n, r, p].map(Number), Buffer.from(salt), Buffer.from(hash, 'hex')),
  ],
  // Django.
  [
    /^pbkdf2_(sha1|sha256)\$(\d{1,9})\$([^$]+)\$([\w+/]+={0,2})$/,
    ([, digest = '', rounds = '', salt = '', hash = '']) => readPbkdf2(digest, Number(rounds), salt, Buffer.from(hash, 'base64')),
  ],
  [
    /^scrypt\$(\d{1,12})\$([^$]+)\$(\d{1,3})\$(\d{1,3})\$([\w+/]+={0,2})$/,
    ([, n, salt = '', r, p, hash = '']) => readScrypt([n, r, p].map(Number), Buffer.from(salt), Buffer.from(hash, 'base64')),
  ],
  // The PHC string format, as passlib writes it.
  [
    /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,3}),p=(\d{1,3})\$([\w+/]+)\$([\w+/]+)$/,
    ([, ln, r, p, salt = '', hash = '']) =>
      readScrypt([2 ** Number(ln), Number(r), Number(p)], Buffer.from(salt, 'base64'), Buffer.from(hash, 'base64')),
  ],
]

/** Reads a stored hash of Werkzeug, Django, htpasswd (bcrypt), bcrypt, or a PHC string; answers why not where it cannot be taken. */
export function readForeignHash(text: string): ForeignHash | string {
  if (text.length > 512) return 'the hash is longer than 512 characters'
  for (const [pattern, read] of READERS) {
    const match = pattern.exec(text)
    if (match !== null) return read(match)
  }
  if (/^(\{S?SHA\}|\$apr1\$|\$1\$|\$[56]\$|md5\$|sha1\$|unsalted|[0-9a-f]{32,128}$)/i.test(text)) {
    return 'a plain digest is no protection; let this user set a new password'
  }
  return 'not a hash of a known form (argon2, bcrypt, scrypt or pbkdf2)'
}

function readArgon2([, hash = '', m, t, p]: RegExpExecArray): ForeignHash | string {
  if (Number(m) > MAX_ARGON2_KIB || Number(t) > MAX_ARGON2_PASSES || Number(p) > MAX_LANES) return tooCostly('argon2')
  return { verify: (password) => verifyArgon2(hash, password) }
}

function readBcrypt(hash: string, cost: string, prepare: (password: string) => string): ForeignHash | string {
  if (Number(cost) > MAX_BCRYPT_COST) return tooCostly('bcrypt')
  // The marks 2a, 2b and 2y name one algorithm; they differ in whose bugs were mended.
  return { verify: (password) => verifyBcrypt(prepare(password), hash.replace(/^\$2y/, '$2b')) }
}

function readPbkdf2(digest: string, rounds: number, salt: string, hash: Buffer): ForeignHash | string {
  if (rounds > MAX_PBKDF2) return tooCostly('pbkdf2')
  if (rounds < 1000 || hash.length < 20 || hash.length > 64) return 'the pbkdf2 hash is too weak or damaged'
  return { verify: async (password) => timingSafeEqual(await pbkdf2Async(password, salt, rounds, hash.length, digest), hash) }
}

function readScrypt([N = 0, r = 0, p = 0]: readonly number[], salt: Buffer, hash: Buffer): ForeignHash | string {
  if (128 * N * r > MAX_SCRYPT_BYTES || p > MAX_LANES) return tooCostly('scrypt')
  if (N < 2 || !Number.isInteger(Math.log2(N)) || r < 1 || p < 1 || hash.length < 16) return 'the scrypt hash is too weak or damaged'
  const options = { N, r, p, maxmem: 2 * MAX_SCRYPT_BYTES }
  return { verify: async (password) => timingSafeEqual(await scryptAsync(password, salt, hash.length, options), hash) }
}

function tooCostly(name: string): string {
  return `the ${name} hash costs more than this server spends on one`
}
