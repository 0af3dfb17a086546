/** The worst texts known for readers, as long as asked for. */
export type Texts = Readonly<Record<string, (length: number) => string>>

export const fill = (unit: string, length: number) =>
  unit.repeat(Math.max(0, Math.ceil(length / unit.length))).slice(0, Math.max(0, length))

/** A text of one piece over and over, with another beginning and end. */
export const of =
  (unit: string, { before = '', after = '' } = {}) =>
  (length: number) =>
    `${before}${fill(unit, length - before.length - after.length)}${after}`

/** Notes that NFC takes apart into up to three characters, in an order without period. */
export const music = (notes: number, kinds: number) => (length: number) => {
  let state = 1
  return Array.from({ length: (notes * length) / 1024 }, () => {
    state = (state * 1103515245 + 12345) % 2 ** 31
    return String.fromCodePoint(0x1d15f + ((state >> 16) % kinds))
  }).join('')
}

/** Runs of marks, which Unicode has to sort in quadratic time. */
export const MARKS: Texts = { marks: of('\u0315\u0300', { before: 'a' }), 'marks that are two': of('\u0344', { before: 'a' }) }

/** For what is read as a name, an address or a word. */
export const WORDS: Texts = {
  ...MARKS,
  letters: of('a'),
  'letters that grow': of('\ufdfa'),
  blanks: of(' ', { before: 'a', after: 'a' }),
  'at signs': of('@'),
  'half an address': of('a.', { before: 'a@' }),
  'dots at the end': of('.', { before: 'a@a', after: '@' }),
  astral: of('\u{1d15f}\u{1d160}'),
}

/** For a header of any name; ASCII alone, as HTTP has it. */
export const HEADERS: Texts = {
  blanks: of(' ', { before: 'a', after: 'a' }),
  tabs: of('\t', { before: 'a', after: 'a' }),
  commas: of(',', { before: 'a' }),
  semicolons: of(';', { before: 'a' }),
  quotes: of('"', { before: 'a' }),
  backslashes: of('\\', { before: '"a' }),
  letters: of('a'),
  slashes: of('/', { before: 'a' }),
  'pairs of a list': of('a=b, '),
}
