import { existsSync, statSync } from 'node:fs'
import { problemWithSecretFile } from '../private-files.ts'
import { inspect } from '../storage/sqlite/inspect.ts'
import type { Storage } from '../storage/storage.ts'
import type { Config } from './config.ts'
import { nameOfDatabase } from './database-name.ts'
import { bad, type Finding, good } from './findings.ts'
import { explain, splitRefusal } from './problems.ts'

const CHECK = 'database'
const CLOCK_SLACK_MS = 60_000
// Read and checked in less than a second.
const MAX_BYTES_AT_START = 256 * 1024 * 1024

/** Whether the database has what a sign-in reads and writes; changes nothing. */
export async function checkDatabase(config: Config): Promise<Finding> {
  try {
    return (
      (config.database.kind === 'sqlite' ? checkFile(config.database.file, Number.POSITIVE_INFINITY) : null) ?? (await checkStorage(config))
    )
  } catch (error) {
    const { detail, remedy } = explain(error, config) ?? splitRefusal(error)
    return bad(CHECK, detail, remedy)
  }
}

/** @throws Error with what `doctor` would say of the database file; a large one is not read whole at every start */
export function requireSoundFile({ database }: Config): void {
  // One that is empty may be about to be filled by another process that starts.
  const isThere = database.kind === 'sqlite' && (statSync(database.file, { throwIfNoEntry: false })?.size ?? 0) > 0
  const finding = isThere ? checkFile(database.file, MAX_BYTES_AT_START) : null
  if (finding?.ok === false) throw new Error(`${finding.detail}; ${finding.remedy}`)
}

/** What is looked at before it is opened, which would write to whatever database is there; `null` when all is well. */
function checkFile(file: string, maxBytes: number): Finding | null {
  const hasLog = existsSync(`${file}-wal`)
  if (!existsSync(file) && !hasLog) return good(CHECK, `${file} will be made at the first start`)
  if (!existsSync(file)) return bad(CHECK, `${file} is missing, and its log ${file}-wal is not`, 'restore both, or a backup')
  for (const path of [file, `${file}-wal`, `${file}-shm`]) {
    const stats = statSync(path, { throwIfNoEntry: false })
    const problem = stats === undefined ? null : problemWithSecretFile(path, stats)
    if (problem !== null) return refused(problem)
  }
  const { size } = statSync(file)
  if (size === 0) return bad(CHECK, `${file} is empty, as no database of ours is`, 'restore a backup, or remove the file to start over')
  const { damage } = inspect(file, { whole: size <= maxBytes })
  return damage === null
    ? null
    : bad(CHECK, `${file} is damaged: ${damage}`, 'keep it and its log as they are, and restore a backup (docs/storage.md)')
}

async function checkStorage(config: Config): Promise<Finding> {
  const storage = config.openStorage({ migrate: false, create: false })
  try {
    return await checkOpened(storage, config)
  } finally {
    await storage.close()
  }
}

async function checkOpened(storage: Storage, config: Config): Promise<Finding> {
  const { pending, newer } = await storage.schema()
  if (pending.length > 0) return bad(CHECK, `the schema lacks ${pending.join(', ')}`, 'trpc-login migrate')
  if (newer.length > 0 && config.database.kind === 'sqlite')
    return bad(CHECK, `the database has schema version ${newer.at(-1)}, newer than this program knows`, 'upgrade trpc-login')
  await storage.check()
  const [latest] = await storage.audit.list({ userId: null, type: null, limit: 1, before: null })
  if (latest !== undefined && latest.at > Date.now() + CLOCK_SLACK_MS) {
    const detail = `its latest entry is of ${new Date(latest.at).toISOString()}, which is to come: the clock was set back`
    return bad(CHECK, detail, 'set the clock; sessions and limits count by it')
  }
  const schema = newer.length === 0 ? 'schema up to date' : `schema of a newer version, which knows ${newer.join(', ')} too`
  return good(CHECK, `${nameOfDatabase(config)} can be written, ${schema}`)
}

function refused(problem: string): Finding {
  const { detail, remedy } = splitRefusal(problem)
  return bad(CHECK, detail, remedy)
}
