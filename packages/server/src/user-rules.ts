import { z } from 'zod'
import { invalidInput } from './errors.ts'
import { emailSchema, nameSchema, rolesSchema, usernameSchema } from './identifiers.ts'
import type { Issue } from './issues.ts'

const ADMIN = 'admin'

/** What is said of a user, by whichever way it comes in. */
interface Profile {
  readonly name?: string | null | undefined
  readonly email?: string | null | undefined
  readonly emailVerified?: boolean | undefined
  readonly roles?: readonly string[] | undefined
}

/** What a user may be called and be: the same rules for callers, administrators, the command line and the application itself. */
export interface UserRules {
  /** The fields of a new user in the form in which they are stored. @throws `invalid_input` naming each field and what is allowed */
  newUser<T extends Profile & { readonly username: string }>(fields: T): T
  /** The same for a change. Roles that the user has already may stay, whatever has been declared since. @throws `invalid_input` */
  change<T extends Profile>(fields: T, rolesBefore?: readonly string[]): T
}

const changeSchema = z.object({
  name: nameSchema.nullish(),
  email: emailSchema.nullish(),
  emailVerified: z.boolean().optional(),
  roles: rolesSchema.optional(),
})
const newUserSchema = changeSchema.extend({ username: usernameSchema })

/** `declared` are the application's roles; one that declares none may give any. */
export function createUserRules(declared: readonly string[]): UserRules {
  const allowed = [...new Set([ADMIN, ...declared])]

  function problemWithRole(role: string): string | null {
    return declared.length === 0 || allowed.includes(role) ? null : `Unknown role; the roles are ${allowed.join(', ')}`
  }

  function check<T extends Profile>(schema: typeof changeSchema, fields: T, rolesBefore: readonly string[]): T {
    const result = schema.safeParse(fields)
    if (!result.success) throw invalidInput(result.error.issues.map(({ path, message }) => ({ path: path.map(String), message })))
    const issues = (result.data.roles ?? []).flatMap((role, index): Issue[] => {
      const message = rolesBefore.includes(role) ? null : problemWithRole(role)
      return message === null ? [] : [{ path: ['roles', index], message }]
    })
    if (issues.length > 0) throw invalidInput(issues)
    return { ...fields, ...result.data }
  }

  return {
    newUser: (fields) => check(newUserSchema, fields, []),
    change: (fields, rolesBefore = []) => check(changeSchema, fields, rolesBefore),
  }
}
