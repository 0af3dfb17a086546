import { hash, randomBytes } from 'node:crypto'

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
  return hash('sha256', token, 'buffer')
}

const LAST_INSTANT = 2 ** 48 - 1
let last = { at: 0, count: 0 }

/** A UUIDv7 (RFC 9562): random, and in the order of its making, also within one millisecond (section 6.2, method 1). */
export function newId(now: number): string {
  const count = now === last.at ? last.count + 1 : randomBytes(1).readUInt8()
  last = { at: now, count }
  const bytes = randomBytes(16)
  bytes.writeUInt16BE(count & 0x0fff, 6)
  return format(bytes, now)
}

/** What no id of an instant, or of a later one, comes before. */
export function firstId(at: number): string {
  return format(Buffer.alloc(16), Math.min(Math.max(0, Math.ceil(at)), LAST_INSTANT))
}

function format(bytes: Buffer, at: number): string {
  bytes.writeUIntBE(at, 0, 6)
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}
