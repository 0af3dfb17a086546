import { z } from 'zod'
import type { Auth } from '../auth.ts'
import { emailSchema, nameSchema, usernameSchema } from '../identifiers.ts'
import { passwordSchema } from '../password-schema.ts'
import { toUserRow } from '../users.ts'
import { loadConfig } from './config.ts'
import { withAuth } from './open.ts'
import { askNewPassword, print, readPasswordFromStdin, UsageError } from './output.ts'
import { requireKnownRoles } from './roles.ts'

interface Options {
  name?: string
  email?: string
  emailVerified?: boolean
  role?: string[]
  passwordStdin?: boolean
  password: boolean
  json?: boolean
}

const schema = z.strictObject({
  username: usernameSchema,
  name: nameSchema.optional(),
  email: emailSchema.optional(),
  emailVerified: z.boolean(),
  roles: z.array(z.string()),
  password: passwordSchema.optional(),
})

/** Adds a user; the first administrator is made this way. */
export async function addUser(username: string, options: Options): Promise<void> {
  const config = loadConfig()
  const { name, email, emailVerified = false, role: roles = [] } = options
  requireKnownRoles(config, roles)
  const result = schema.safeParse({ username, name, email, emailVerified, roles, password: await readPassword(options) })
  if (!result.success) throw new UsageError(z.prettifyError(result.error))
  const add = async ({ users }: Auth) => {
    const user = toUserRow(await users.create(result.data))
    print(user, options, () => [`added ${user.username} (${user.id})`])
  }
  await withAuth(config, add, { create: true })
}

async function readPassword(options: Options): Promise<string | undefined> {
  if (!options.password) return undefined
  return options.passwordStdin === true ? readPasswordFromStdin() : askNewPassword()
}
