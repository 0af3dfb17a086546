import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'

export const EXIT = { ok: 0, failure: 1, usage: 2, notFound: 3, conflict: 4 } as const

/** The command was called wrongly. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

// What moves a cursor, colours, hides or turns text, or ends a line somewhere: none of it is left to act on a terminal.
const ACTS_ON_TERMINALS = /[\p{C}\p{Zl}\p{Zp}]/gu

/** Text that others wrote, as it can be shown. */
export function visible(text: string): string {
  return text.replace(ACTS_ON_TERMINALS, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`)
}

/** JSON in one line that can be shown as it is; it reads back as the same value. */
export function toJson(value: unknown): string {
  return JSON.stringify(value).replace(ACTS_ON_TERMINALS, (character) =>
    Array.from({ length: character.length }, (_, index) => `\\u${character.charCodeAt(index).toString(16).padStart(4, '0')}`).join(''),
  )
}

/** A result goes to standard output: as JSON, or as lines for people. */
export function print(value: unknown, options: { json?: boolean }, lines: () => readonly string[]): void {
  const shown = options.json === true ? [toJson(value)] : lines().map(visible)
  process.stdout.write(shown.map((line) => `${line}\n`).join(''))
}

/** What is not a result goes to standard error. */
export function say(line: string): void {
  process.stderr.write(`${visible(line)}\n`)
}

/** The password from standard input, without the line's end that `echo` leaves. */
export async function readPasswordFromStdin(): Promise<string> {
  return (await text(process.stdin)).replace(/\r?\n$/, '')
}

/** Asks twice on the terminal, without showing what is typed. @throws UsageError when there is no terminal or the two differ */
export async function askNewPassword(): Promise<string> {
  if (!process.stdin.isTTY) throw new UsageError('no terminal to ask for a password; use --password-stdin')
  // From here to the end the terminal shows nothing, so that what is typed ahead, or pasted as two lines, is not shown either.
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true })
  terminal.on('SIGINT', () => terminal.close())
  const lines = terminal[Symbol.asyncIterator]()
  try {
    const password = await ask('Password: ', lines)
    if ((await ask('Again: ', lines)) !== password) throw new UsageError('the passwords differ')
    return password
  } finally {
    terminal.close()
  }
}

async function ask(question: string, lines: AsyncIterator<string, unknown>): Promise<string> {
  process.stderr.write(question)
  const line = await lines.next()
  process.stderr.write('\n')
  if (line.done === true) throw new UsageError('cancelled')
  return line.value
}
