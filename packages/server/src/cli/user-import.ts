import { createReadStream, existsSync } from 'node:fs'
import { SYSTEM } from '../audit.ts'
import type { Auth } from '../auth.ts'
import type { UserRecord } from '../storage/storage.ts'
import { type Config, loadConfig } from './config.ts'
import { FORMATS, type Format, readRecords } from './import-format.ts'
import type { Place } from './import-records.ts'
import { createRejects, type Rejects } from './import-rejects.ts'
import { COLUMNS, toRecord } from './import-user.ts'
import { withAuth } from './open.ts'
import { EXIT, print, UsageError } from './output.ts'
import { problemWithRole } from './roles.ts'

const BATCH = 500

interface Options {
  format?: string
  rejects?: string
  dryRun?: boolean
  json?: boolean
}

/** What became of a user that could be read. */
type Outcome = 'created' | 'username_taken' | 'email_taken'

/** Takes users in, and says of each what became of it. */
type Add = (users: readonly UserRecord[]) => Promise<ReadonlyMap<string, Outcome>>

/**
 * Adds the users of a file with the password hashes that they have. What cannot be taken is listed with its line and the reason;
 * who is there already stays as they are, so that an import that was interrupted is simply run again.
 */
export async function importUsers(file: string, options: Options): Promise<void> {
  const format = formatOf(file, options.format)
  if (!existsSync(file)) throw new UsageError(`there is no file ${file}`)
  const config = loadConfig()
  const { dryRun = false } = options
  await withAuth(config, async (auth) => {
    const rejects = createRejects(dryRun ? null : (options.rejects ?? `${file}.rejects`))
    const add = dryRun ? pretendToAdd(auth) : addTo(auth)
    const { isWhole, ...counts } = await importFrom(file, format, { config, rejects, add })
    const result = { ...counts, rejected: rejects.count, dryRun, rejectsFile: rejects.close() }
    print(result, options, () => [
      `${dryRun ? 'would add' : 'added'} ${result.added}, already there ${result.existing}, rejected ${result.rejected}`,
      ...(result.rejectsFile === null ? [] : [`see ${result.rejectsFile}`]),
    ])
    // What comes after was neither taken nor rejected.
    if (!isWhole) process.exitCode = EXIT.failure
  })
}

async function importFrom(file: string, format: Format, { config, rejects, add }: { config: Config; rejects: Rejects; add: Add }) {
  const counts = { added: 0, existing: 0 }
  let isWhole = true
  let batch: { readonly place: Place; readonly user: UserRecord }[] = []

  async function flush(): Promise<void> {
    if (batch.length === 0) return
    const outcomes = await add(batch.map(({ user }) => user))
    for (const { place, user } of batch) {
      const outcome = outcomes.get(user.id)
      if (outcome === 'created') counts.added += 1
      else if (outcome === 'username_taken') counts.existing += 1
      else rejects.add(place, `the verified email ${user.email} belongs to another user`)
    }
    batch = []
    process.stderr.write(`${counts.added} added, ${counts.existing} already there, ${rejects.count} rejected\r`)
  }

  for await (const record of readRecords(chunksOf(file), format, COLUMNS)) {
    if (record.isEnd) isWhole = false
    const user = 'problem' in record ? record.problem : toRecord(record.row, Date.now(), (role) => problemWithRole(config, role))
    if (typeof user === 'string') rejects.add(record, user)
    else batch.push({ place: record, user })
    if (batch.length >= BATCH) await flush()
  }
  await flush()
  process.stderr.write('\n')
  return { ...counts, isWhole }
}

function addTo(auth: Auth): Add {
  return (users) =>
    auth.storage.users.createMany(users, auth.audit.entry('user_created', SYSTEM, null, { import: true, users: users.length }))
}

/** Changes nothing, so it has to remember who would be there. */
function pretendToAdd({ storage }: Auth): Add {
  const usernames = new Set<string>()
  const emails = new Set<string>()

  async function pretend({ usernameKey, email, emailVerifiedAt }: UserRecord): Promise<Outcome> {
    if (usernames.has(usernameKey) || (await storage.users.findByUsernameKey(usernameKey)) !== null) return 'username_taken'
    const proved = emailVerifiedAt === null ? null : email
    if (proved !== null && (emails.has(proved) || (await storage.users.findByVerifiedEmail(proved)) !== null)) return 'email_taken'
    usernames.add(usernameKey)
    if (proved !== null) emails.add(proved)
    return 'created'
  }

  return async (users) => {
    const outcomes = new Map<string, Outcome>()
    for (const user of users) outcomes.set(user.id, await pretend(user))
    return outcomes
  }
}

async function* chunksOf(file: string): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of createReadStream(file)) yield chunk as Buffer
  } catch (cause) {
    throw new Error(`${file} cannot be read: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, { cause })
  }
}

function formatOf(file: string, given: string | undefined): Format {
  const name = given ?? (/\.(csv|ndjson)$/.exec(file)?.[1] || (file.endsWith('htpasswd') ? 'htpasswd' : undefined))
  const format = FORMATS.find((known) => known === name)
  if (format === undefined)
    throw new UsageError(`--format must be one of ${FORMATS.join(', ')}${name === undefined ? '' : `, got ${name}`}`)
  return format
}
