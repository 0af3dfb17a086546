/** A user as a file names one: every field as text, by the name of its column. */
export type ImportRow = Readonly<Record<string, unknown>>

/** One line or record of the file, numbered from 1. */
export interface ImportLine {
  readonly line: number
  readonly text: string
  readonly row: ImportRow | null
}

export const FORMATS = ['csv', 'ndjson', 'htpasswd'] as const
export type Format = (typeof FORMATS)[number]

/** Reads a file's records one after the other, so that its size does not matter. `row` is `null` where a record cannot be read. */
export async function* readRecords(lines: AsyncIterable<string>, format: Format): AsyncGenerator<ImportLine> {
  let header: readonly string[] | null = null
  let number = 0
  let start = 0
  let pending = ''
  for await (const text of lines) {
    number += 1
    if (pending === '') start = number
    const record = pending === '' ? text : `${pending}\n${text}`
    // A quote that is open at the line's end goes on in the next (RFC 4180 section 2.6).
    if (format === 'csv' && (record.match(/"/g)?.length ?? 0) % 2 === 1) {
      pending = record
      continue
    }
    pending = ''
    if (record.trim() === '' || (format === 'htpasswd' && record.startsWith('#'))) continue
    if (format === 'csv' && header === null) header = splitCsv(record).map((name) => name.trim())
    else yield { line: start, text: record, row: readRow(record, format, header ?? []) }
  }
  if (pending !== '') yield { line: start, text: pending, row: null }
}

function readRow(text: string, format: Format, header: readonly string[]): ImportRow | null {
  if (format === 'ndjson') return readJson(text)
  if (format === 'csv') {
    const cells = splitCsv(text)
    if (cells.length !== header.length) return null
    return Object.fromEntries(header.map((name, index) => [name, cells[index]] as const).filter(([, cell]) => cell !== ''))
  }
  const colon = text.indexOf(':')
  return colon < 1 ? null : { username: text.slice(0, colon), password_hash: text.slice(colon + 1).trim() }
}

function readJson(text: string): ImportRow | null {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as ImportRow) : null
  } catch {
    // The line goes to the rejects with what is wrong.
    return null
  }
}

function splitCsv(record: string): string[] {
  const cells = record.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g)
  return Array.from(cells, ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '')
}
