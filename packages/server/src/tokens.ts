import { createHash, randomBytes } from 'node:crypto'

const TOKEN = /^[A-Za-z0-9_-]{43}$/

/** 32 random bytes as 43 base64url characters (ASVS 7.2.3 asks for 16 bytes). */
export function newToken(): string {
  return randomBytes(32).toString('base64url')
}

/** Whether a string has the form of a token; saves a look-up for those that cannot be one. */
export function isToken(value: string): boolean {
  return TOKEN.test(value)
}

/** What the store keeps of a token. A plain hash is enough: nobody guesses 32 random bytes. */
export function hashToken(token: string): Uint8Array {
  return createHash('sha256').update(token).digest()
}

/** A UUIDv7 (RFC 9562): random, and in the order of its making, which keeps indexes compact. */
export function newId(now: number): string {
  const bytes = randomBytes(16)
  bytes.writeUIntBE(now, 0, 6)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
