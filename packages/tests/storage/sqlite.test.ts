import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { Worker } from 'node:worker_threads'
import { sqliteStorage } from '@trpc-login/server'
import { describe, expect, onTestFinished, test } from 'vitest'
import { storageTests } from './conformance.ts'

const ALL_MIGRATIONS = ['1 users and sessions', '2 attempts', '3 administration', '4 attributes', '5 sign-in with others', '6 changes']

function directory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'trpc-login-storage-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

const engines = { file: () => join(directory(), 'login.db'), memory: () => ':memory:' }
for (const [name, path] of Object.entries(engines)) {
  describe(`SQLite in a ${name}`, () => {
    storageTests(async () => {
      const storage = sqliteStorage({ path: path() })
      return { ...storage, [Symbol.asyncDispose]: storage.close }
    })
  })
}

test('four processes that start on one fresh file migrate once, and of 200 reads with a write each none fails or is lost', async () => {
  const path = join(directory(), 'login.db')
  const script = join(import.meta.dirname, '../support/four-writers.ts')
  const run = () => promisify(execFile)(process.execPath, ['--conditions=@trpc-login/source', script, path])
  const counts = await Promise.all(Array.from({ length: 4 }, async () => Number((await run()).stdout)))
  expect(counts).toEqual([200, 200, 200, 200])
  using db = new DatabaseSync(path)
  expect(db.prepare('select count(*) as n from trpc_login_migrations').get()).toEqual({ n: ALL_MIGRATIONS.length })
  expect(db.prepare('select count from attempts').get()).toEqual({ count: 800 })
})

test('first starts at the same moment on one fresh file wait for each other', async () => {
  const dir = directory()
  const [threads, counter] = [4, new SharedArrayBuffer(4)]
  const paths = Array.from({ length: 20 }, (_, index) => join(dir, String(index), 'login.db'))
  const openAll = () =>
    new Promise((resolve, reject) => {
      const options = { workerData: { paths, threads, counter }, execArgv: ['--conditions=@trpc-login/source'] }
      const worker = new Worker(join(import.meta.dirname, '../support/open-together.ts'), options)
      worker.once('exit', resolve).once('error', reject)
      onTestFinished(async () => void (await worker.terminate()))
    })
  expect(await Promise.all(Array.from({ length: threads }, openAll))).toEqual([0, 0, 0, 0])
})

/** A database that was made and is closed. */
async function make(path: string): Promise<void> {
  const storage = sqliteStorage({ path })
  await storage.check()
  await storage.close()
}

test('ST-4: the database is made readable by its owner alone, and a wider one is refused with the remedy', async () => {
  const path = join(directory(), 'inner', 'login.db')
  await make(path)
  expect(statSync(path).mode & 0o777).toBe(0o600)
  expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700)
  chmodSync(path, 0o644)
  await expect(sqliteStorage({ path }).schema()).rejects.toThrow(`run: chmod 600 ${path}`)
})

test('a file that is no database is refused and left as it is', async () => {
  const path = join(directory(), 'login.db')
  writeFileSync(path, 'these are my notes, not a database, and they are long enough to be read', { mode: 0o600 })
  await expect(sqliteStorage({ path }).schema()).rejects.toThrow(/not a database/)
  expect(statSync(path).size).toBe(71)
})

test.for([
  ['newer than the program', "insert into trpc_login_migrations values (99, 'later', 'x', 0)", 'newer than this program knows'],
  ['of another text', "update trpc_login_migrations set checksum = 'x'", 'applied with another text'],
] as const)('ST-5: a schema %s is refused', async ([, statement, message]) => {
  const path = join(directory(), 'login.db')
  await make(path)
  const db = new DatabaseSync(path)
  db.exec(statement)
  db.close()
  await expect(sqliteStorage({ path }).schema()).rejects.toThrow(message)
})

test('a dry run says what it would do and does nothing', async () => {
  const storage = sqliteStorage({ path: ':memory:', migrate: false })
  expect(await storage.migrate({ dryRun: true })).toEqual(ALL_MIGRATIONS)
  expect(await storage.migrate()).toEqual(ALL_MIGRATIONS)
  expect(await storage.migrate({ dryRun: true })).toEqual([])
  await storage.close()
})
