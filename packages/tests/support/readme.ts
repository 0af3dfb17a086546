import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ROOT } from './process.ts'

export interface Block {
  readonly language: string
  /** Of the file that it is, after the language. */
  readonly name: string | undefined
  readonly text: string
}

/** The blocks of code of a page in the checkout. */
export function blocksOf(page: string): Block[] {
  const text = readFileSync(join(ROOT, page), 'utf8')
  return [...text.matchAll(/^```(\S+)(?: (\S+))?\n([\s\S]*?)^```/gm)].map(([, language = '', name, code = '']) => ({
    language,
    name,
    text: code,
  }))
}
