import { z } from 'zod'
import { readForeignHash } from '../foreign-hashes.ts'
import { emailSchema, nameSchema, usernameKey, usernameSchema } from '../identifiers.ts'
import type { UserRecord } from '../storage/storage.ts'
import { newId } from '../tokens.ts'
import type { ImportRow } from './import-format.ts'

const flag = z.union([z.boolean(), z.stringbool()], 'must be true or false')
const words = z.string().transform((text) => text.split(/[\s,;]+/).filter((role) => role !== ''))
const schema = z.strictObject({
  username: usernameSchema,
  password_hash: z.string().optional(),
  name: nameSchema.nullish(),
  email: emailSchema.nullish(),
  email_verified: flag.optional(),
  roles: z.union([z.array(z.string()), words], 'must be a list of roles').optional(),
  disabled: flag.optional(),
})

/** What a file may say of a user. */
export const COLUMNS: readonly string[] = Object.keys(schema.shape)

/** The user that a row names, or why there is none. */
export function toRecord(row: ImportRow, at: number, problemWithRole: (role: string) => string | null): UserRecord | string {
  const result = schema.safeParse(row)
  if (!result.success) return result.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`.trim()).join('; ')
  const { username, password_hash: hash, name, email, email_verified: verified, roles = [], disabled } = result.data
  const foreign = hash === undefined ? null : readForeignHash(hash)
  if (typeof foreign === 'string') return foreign
  const problem = roles.map(problemWithRole).find((found) => found !== null)
  if (problem !== undefined) return problem
  return {
    id: newId(at),
    username,
    usernameKey: usernameKey(username),
    name: name ?? null,
    email: email ?? null,
    emailVerifiedAt: email != null && verified === true ? at : null,
    roles: [...new Set(roles)],
    passwordHash: hash ?? null,
    epoch: 0,
    createdAt: at,
    disabledAt: disabled === true ? at : null,
    lastLoginAt: null,
    attributes: null,
  }
}

/** The other way round, with the hash only where it is asked for. */
export function toRow(user: UserRecord, withHash: boolean): ImportRow {
  return {
    username: user.username,
    name: user.name,
    email: user.email,
    email_verified: user.emailVerifiedAt !== null,
    roles: user.roles,
    disabled: user.disabledAt !== null,
    ...(withHash && user.passwordHash !== null ? { password_hash: user.passwordHash } : {}),
  }
}
