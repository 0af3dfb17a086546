import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, test } from 'vitest'
import { ROOT } from '../support/process.ts'

const { sourceOf } = (await import(join(ROOT, 'scripts/docs/project.mjs'))) as { sourceOf(name: string): string }
const { requireVersion } = (await import(sourceOf('requireVersion'))) as { requireVersion(db: DatabaseSync): void }

/** A database whose engine calls itself another version. */
function engine(version: string): DatabaseSync {
  const db = new DatabaseSync(':memory:')
  db.function('sqlite_version', () => version)
  return db
}

test.each(['3.40.1', '3.51.2', '3.7.0', '2.99.99'])('ST-2: SQLite %s is refused, and the message names what is needed', (version) => {
  expect(() => requireVersion(engine(version))).toThrow(`SQLite ${version} can lose data; 3.51.3 or newer is needed`)
})

test('ST-2: the version that this Node brings, and later ones, are taken', () => {
  expect(() => requireVersion(new DatabaseSync(':memory:'))).not.toThrow()
  for (const version of ['3.51.3', '3.52.0', '3.100.0', '4.0.0']) expect(() => requireVersion(engine(version))).not.toThrow()
})
