/**
 * The application's context with ours in it. Methods of a class become fields bound to its instance: guards of tRPC go on with a copy of
 * the fields, which would lose them, and the instance itself may serve several requests.
 */
export function mergeContext(own: object | undefined, ours: object): object {
  if (own === undefined) return ours
  const prototype: unknown = Object.getPrototypeOf(own)
  if (prototype === Object.prototype || prototype === null) return { ...own, ...ours }
  return { ...methodsOf(own), ...own, ...ours }
}

function methodsOf(instance: object): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  for (let level: unknown = Object.getPrototypeOf(instance); isOfClass(level); level = Object.getPrototypeOf(level)) {
    for (const name of Object.getOwnPropertyNames(level)) {
      if (name === 'constructor' || Object.hasOwn(found, name)) continue
      const value: unknown = Reflect.get(level, name, instance)
      found[name] = typeof value === 'function' ? (value.bind(instance) as unknown) : value
    }
  }
  return found
}

function isOfClass(level: unknown): level is object {
  return level !== null && level !== Object.prototype
}
