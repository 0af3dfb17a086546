/** What a schema of any validation library has that speaks Standard Schema v1 (standardschema.dev), as far as it is needed here. */
export interface StandardSchema<TOutput> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => StandardResult<TOutput> | Promise<StandardResult<TOutput>>
    readonly types?: { readonly input: unknown; readonly output: TOutput } | undefined
  }
}

type StandardResult<TOutput> =
  | { readonly value: TOutput; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string; readonly path?: readonly unknown[] | undefined }[] }

/** Whether a value is a schema whose answer for `{}`, which new users get, is there at once. */
export function isSynchronousSchema(value: unknown): boolean {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false
  const standard = (value as Partial<StandardSchema<unknown>>)['~standard']
  if (standard?.version !== 1 || typeof standard.validate !== 'function') return false
  const result = standard.validate({})
  return !isPromise(result)
}

/**
 * What a schema makes of a value.
 * @throws TypeError when it asks to be waited for: what decides must not stand open between question and write
 */
export function validateNow<TOutput>(schema: StandardSchema<TOutput>, value: unknown): StandardResult<TOutput> {
  const result = schema['~standard'].validate(value)
  if (isPromise(result)) throw new TypeError('createAuth: attributes must be checked without waiting; this schema answers with a promise')
  return result
}

function isPromise(result: unknown): result is Promise<unknown> {
  if (typeof (result as Partial<Promise<unknown>> | undefined)?.then !== 'function')
    return false
    // Nobody waits for it, and its failure must not end the process.
  ;(result as Promise<unknown>).then(undefined, () => {})
  return true
}
