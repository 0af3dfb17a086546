import type { z } from 'zod'
import { AuthError } from './errors.ts'
import type { Attributes } from './storage/storage.ts'

const MAX_JSON = 16 * 1024

/** What an application allows its users to carry along. */
export interface AttributeRules {
  /**
   * The attributes to store, or `null` where there is no schema.
   * @throws `invalid_input` naming each field, or that there is no schema for what was given
   */
  parse(value: unknown, given: boolean): Attributes | null
}

export function createAttributeRules(schema: z.ZodType<Attributes> | undefined): AttributeRules {
  return {
    parse(value, given) {
      if (schema === undefined) {
        if (given) throw refused([{ path: ['attributes'], message: 'This application has no attributes' }])
        return null
      }
      const result = schema.safeParse(value)
      if (!result.success) {
        throw refused(result.error.issues.map(({ path, message }) => ({ path: ['attributes', ...path.map(String)], message })))
      }
      if (JSON.stringify(result.data).length > MAX_JSON)
        throw refused([{ path: ['attributes'], message: `At most ${MAX_JSON} characters of JSON` }])
      return result.data
    },
  }
}

function refused(issues: readonly { path: string[]; message: string }[]): AuthError {
  return new AuthError('invalid_input', { message: issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '), issues })
}
