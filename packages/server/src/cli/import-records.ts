import { UsageError } from './output.ts'

/** Longer than any record of a user; what is longer is not kept, so that one stray quote fills no memory. */
const MAX_RECORD_BYTES = 64 * 1024
/** A file with such a line holds no lines. */
const MAX_LINE_BYTES = 1024 * 1024

const [LF, CR, QUOTE, COMMA] = [0x0a, 0x0d, 0x22, 0x2c]

/** The lines that a record takes, numbered from 1. */
export interface Place {
  readonly line: number
  readonly lastLine: number
}

/** One record of a file. */
export interface Piece extends Place {
  readonly text: string
  /** Why it cannot be taken; its text is then not to be used. */
  readonly problem: string | null
  /** Nothing behind it can be read. */
  readonly isEnd: boolean
}

/**
 * Cuts a file into records, in one pass and in bounded memory: at line ends, but with `quotes` not inside of quotes (RFC 4180
 * section 2). A record that breaks those rules goes on to the end of its line and is one problem. What stands in quotes is never
 * read as records, however long it is: whoever chose that text would choose users.
 */
export async function* cutRecords(chunks: AsyncIterable<Buffer>, { quotes }: { quotes: boolean }): AsyncGenerator<Piece> {
  const cutter = createCutter(quotes)
  for await (const chunk of withoutMark(chunks)) {
    for (let from = 0; from < chunk.length; ) {
      const end = cutter.findEnd(chunk, from)
      cutter.keep(chunk.subarray(from, end))
      if (end === chunk.length && !cutter.isDone()) break
      from = end
      const piece = cutter.take()
      if (piece !== null) yield piece
      if (piece?.isEnd === true) return
    }
  }
  const last = cutter.finish()
  if (last !== null) yield last
}

type State = 'start' | 'plain' | 'quoted' | 'quote' | 'return' | 'bad'

function createCutter(quotes: boolean) {
  let state: State = 'start'
  let problem: string | null = null
  let kept: Buffer[] = []
  let bytes = 0
  let lineBytes = 0
  let first = 1
  let line = 1
  let done = false

  function fail(why: string): State {
    problem ??= why
    return 'bad'
  }

  /** What a byte makes of the state; a line's end outside of quotes is not asked about. */
  function next(byte: number): State {
    switch (state) {
      case 'quoted':
        return byte === QUOTE ? 'quote' : 'quoted'
      case 'bad':
        return 'bad'
      case 'return':
        return fail('a carriage return stands outside of quotes')
      case 'quote':
        if (byte === QUOTE) return 'quoted'
        if (byte === COMMA) return 'start'
        return byte === CR ? 'return' : fail('text stands behind a closing quote')
      case 'start':
        if (byte === QUOTE) return 'quoted'
        if (byte === COMMA) return 'start'
        return byte === CR ? 'return' : 'plain'
      case 'plain':
        if (byte === COMMA) return 'start'
        if (byte === CR) return 'return'
        return byte === QUOTE ? fail('a quote stands in a field that does not begin with one') : 'plain'
    }
  }

  return {
    /** Where the record ends in a chunk, behind its line end, or the chunk's end. */
    findEnd(chunk: Buffer, from: number): number {
      for (let at = from; at < chunk.length; at += 1) {
        const byte = chunk[at] ?? 0
        lineBytes += 1
        if (byte === LF) {
          lineBytes = 0
          line += 1
          if (state !== 'quoted') {
            done = true
            return at + 1
          }
        } else if (lineBytes > MAX_LINE_BYTES) {
          done = true
          return at
        } else if (quotes) state = next(byte)
      }
      return chunk.length
    },
    isDone: () => done,
    keep(part: Buffer): void {
      bytes += part.length
      if (bytes > MAX_RECORD_BYTES) kept = []
      else kept.push(part)
    },
    /** The record that is done; `null` for an empty one. */
    take(): Piece | null {
      const tooLong = lineBytes > MAX_LINE_BYTES
      const lastLine = tooLong ? line : line - 1
      const piece = toPiece({ kept, bytes, line: first, lastLine, problem: tooLong ? LINE_TOO_LONG : problem, isEnd: tooLong })
      state = 'start'
      problem = null
      kept = []
      bytes = 0
      first = line
      done = false
      return piece
    },
    /** What is left at the end of the file. */
    finish(): Piece | null {
      const isOpen = state === 'quoted'
      if (state === 'return') fail('a carriage return stands outside of quotes')
      const lastLine = lineBytes === 0 && line > first ? line - 1 : line
      return toPiece({ kept, bytes, line: first, lastLine, problem: isOpen ? NEVER_CLOSED : problem, isEnd: isOpen })
    },
  }
}

const LINE_TOO_LONG = `a line is longer than ${MAX_LINE_BYTES} bytes; nothing from here on was read`
const NEVER_CLOSED = 'a quote is opened and never closed; nothing from here on was read: mend it and run the import again'
const RECORD_TOO_LONG = `a record is longer than ${MAX_RECORD_BYTES} bytes`
const NOT_UTF8 = 'not UTF-8; convert the file, such as with: iconv -f ISO-8859-1 -t UTF-8'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

function toPiece({ kept, bytes, ...piece }: Omit<Piece, 'text'> & { kept: Buffer[]; bytes: number }): Piece | null {
  if (bytes === 0) return null
  if (piece.problem !== null) return { ...piece, text: '' }
  if (bytes > MAX_RECORD_BYTES) return { ...piece, text: '', problem: RECORD_TOO_LONG }
  try {
    return { ...piece, text: decoder.decode(Buffer.concat(kept)).replace(/\r?\n$/, '') }
  } catch {
    // The decoder says no more than that.
    return { ...piece, text: '', problem: NOT_UTF8 }
  }
}

/** Without the byte order mark that some programs begin a file with. @throws UsageError for a file in UTF-16 */
async function* withoutMark(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let start: Buffer | null = Buffer.alloc(0)
  for await (const chunk of chunks) {
    if (start === null) {
      yield chunk
      continue
    }
    start = Buffer.concat([start, chunk])
    if (start.length < 3) continue
    yield withoutMarkAtStart(start)
    start = null
  }
  if (start !== null) yield withoutMarkAtStart(start)
}

function withoutMarkAtStart(start: Buffer): Buffer {
  const mark = start.toString('hex', 0, 3)
  if (/^(?:fffe|feff)/.test(mark)) throw new UsageError('the file is in UTF-16; save it as UTF-8')
  return mark === 'efbbbf' ? start.subarray(3) : start
}
