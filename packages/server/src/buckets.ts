import { hash } from 'node:crypto'

/** How many buckets announce changes; see `Changes` of the port. */
export const BUCKETS = 256

/** The bucket of a user: the first byte of SHA-256 of the id, so that few users share one. */
export function bucketOf(userId: string): number {
  return hash('sha256', userId, 'buffer').readUInt8(0)
}
