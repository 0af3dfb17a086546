import { type AuthError, invalidInput } from './errors.ts'
import { type Issue, readIssues } from './issues.ts'
import { type StandardSchema, validateNow } from './standard-schema.ts'
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

export function createAttributeRules(schema: StandardSchema<Attributes> | undefined): AttributeRules {
  return {
    parse(value, given) {
      if (schema === undefined) {
        if (given) throw refused([{ path: [], message: 'This application has no attributes' }])
        return null
      }
      const result = validateNow(schema, value)
      if (result.issues !== undefined) throw refused(readIssues(result.issues, value))
      if (JSON.stringify(result.value).length > MAX_JSON) throw refused([{ path: [], message: `At most ${MAX_JSON} characters of JSON` }])
      return result.value
    },
  }
}

function refused(found: readonly Issue[]): AuthError {
  return invalidInput(found.map(({ path, message }) => ({ path: ['attributes', ...path.map(String)], message })))
}
