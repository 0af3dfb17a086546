import { AuthError } from './errors.ts'

const MAX_LENGTH = 1000

/** Where a list goes on: opaque to callers, and plain data to us, bound as parameters like any input. */
export function encodeCursor(position: Readonly<Record<string, string>>): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url')
}

/** The position in a cursor, which has exactly these keys. @throws `invalid_input` */
export function decodeCursor<K extends string>(cursor: string, keys: readonly K[]): Record<K, string> {
  const position = cursor.length > MAX_LENGTH ? null : parse(Buffer.from(cursor, 'base64url').toString())
  const isPosition =
    position !== null &&
    Object.keys(position).toSorted().join() === keys.toSorted().join() &&
    Object.values(position).every((value) => typeof value === 'string')
  if (!isPosition) {
    const message = 'Not a cursor of this list; pass nextCursor as it was'
    throw new AuthError('invalid_input', { message, issues: [{ path: ['cursor'], message }] })
  }
  return position as Record<K, string>
}

function parse(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : null
  } catch {
    // The caller is told which field is wrong.
    return null
  }
}
