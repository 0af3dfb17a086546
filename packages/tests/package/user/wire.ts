/** A transformer of the application's own: JSON text in which dates are marked. */
export const wire = {
  serialize: (value: unknown): string =>
    JSON.stringify([value], function mark(this: Record<string, unknown>, key, marked: unknown) {
      const original = this[key]
      return original instanceof Date ? { $date: original.getTime() } : marked
    }),
  deserialize: (text: string): unknown =>
    (
      JSON.parse(text, (_key, value: unknown) =>
        typeof value === 'object' && value !== null && '$date' in value ? new Date(Number(value.$date)) : value,
      ) as unknown[]
    )[0],
}
