import { cutRecords, type Place } from './import-records.ts'
import { UsageError } from './output.ts'

/** A user as a file names one: every field by the name of its column. */
export type ImportRow = Readonly<Record<string, unknown>>

/** One record of the file, with its row or the reason why there is none. */
export type ImportRecord = Place & { readonly isEnd: boolean } & ({ readonly row: ImportRow } | { readonly problem: string })

export const FORMATS = ['csv', 'ndjson', 'htpasswd'] as const
export type Format = (typeof FORMATS)[number]

/**
 * Reads a file's records one after the other, so that its size does not matter.
 * @throws UsageError for a CSV file that does not begin with a head of these columns
 */
export async function* readRecords(
  chunks: AsyncIterable<Buffer>,
  format: Format,
  columns: readonly string[],
): AsyncGenerator<ImportRecord> {
  let head: readonly string[] | null = null
  for await (const { text, problem, ...place } of cutRecords(chunks, { quotes: format === 'csv' })) {
    const isEmpty = problem === null && (text.trim() === '' || (format === 'htpasswd' && text.startsWith('#')))
    if (isEmpty) continue
    if (format === 'csv' && head === null) head = readHead(text, problem, columns)
    else if (problem !== null) yield { ...place, problem }
    else {
      const row = readRow(text, format, head ?? [])
      yield typeof row === 'string' ? { ...place, problem: row } : { ...place, row }
    }
  }
  if (format === 'csv' && head === null) throw new UsageError('the file is empty')
}

function readHead(text: string, problem: string | null, columns: readonly string[]): readonly string[] {
  const names = splitCells(text).map((name) => name.trim())
  const unknown = names.filter((name) => !columns.includes(name))
  const why =
    problem ??
    (unknown.length > 0
      ? `there is no column ${unknown.map((name) => JSON.stringify(name.slice(0, 64))).join(', ')}`
      : new Set(names).size < names.length
        ? 'a column is named twice'
        : names.includes('username')
          ? null
          : 'username is missing')
  if (why !== null)
    throw new UsageError(`the first line is no head: ${why}; it names columns, separated by commas, of ${columns.join(', ')}`)
  return names
}

/** The fields of a record, or why it has none. */
function readRow(text: string, format: Format, head: readonly string[]): ImportRow | string {
  if (format === 'ndjson') return readJson(text)
  if (format === 'csv') {
    const cells = splitCells(text)
    if (cells.length !== head.length) return `it has ${cells.length} fields, and the head has ${head.length}`
    return Object.fromEntries(head.map((name, index) => [name, cells[index]] as const).filter(([, cell]) => cell !== ''))
  }
  const colon = text.indexOf(':')
  return colon < 1 ? 'not of the form NAME:HASH' : { username: text.slice(0, colon), password_hash: text.slice(colon + 1).trim() }
}

function readJson(text: string): ImportRow | string {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as ImportRow) : 'not a JSON object'
  } catch {
    // The engine's own text would quote a piece of it, which may be a hash.
    return 'not valid JSON'
  }
}

/** The fields of a record whose quotes are in order. */
function splitCells(record: string): string[] {
  const cells: string[] = []
  for (let at = 0; ; at += 1) {
    const end = record[at] === '"' ? closingQuote(record, at) + 1 : endOfPlain(record, at)
    const cell = record.slice(at, end)
    cells.push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell)
    at = end
    if (at >= record.length) return cells
  }
}

function endOfPlain(record: string, from: number): number {
  const comma = record.indexOf(',', from)
  return comma === -1 ? record.length : comma
}

function closingQuote(record: string, opening: number): number {
  for (let at = opening + 1; ; at += 2) {
    at = record.indexOf('"', at)
    if (record[at + 1] !== '"') return at
  }
}
