import { createReadStream, createWriteStream, existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { z } from 'zod'
import { SYSTEM } from '../audit.ts'
import type { Auth } from '../auth.ts'
import { readForeignHash } from '../foreign-hashes.ts'
import { emailSchema, nameSchema, usernameKey, usernameSchema } from '../identifiers.ts'
import { roleSchema } from '../routers/users.ts'
import type { UserRecord } from '../storage/storage.ts'
import { newId } from '../tokens.ts'
import { FORMATS, type Format, type ImportLine, readRecords } from './import-format.ts'
import { withAuth } from './open.ts'
import { print, UsageError } from './output.ts'

const BATCH = 500

interface Options {
  format?: string
  dryRun?: boolean
  json?: boolean
}

const flag = z.union([z.boolean(), z.stringbool()])
const rowSchema = z.strictObject({
  username: usernameSchema,
  password_hash: z.string().optional(),
  name: nameSchema.nullish(),
  email: emailSchema.nullish(),
  email_verified: flag.optional(),
  roles: z
    .union([
      z.array(roleSchema),
      z
        .string()
        .transform((text) => text.split(/[\s,;]+/).filter((role) => role !== ''))
        .pipe(z.array(roleSchema)),
    ])
    .optional(),
  disabled: flag.optional(),
})

/**
 * Adds the users of a file with the password hashes that they have. What cannot be taken goes to FILE.rejects with its line and the
 * reason; who is there already stays as they are, so that an import that was interrupted is simply run again.
 */
export async function importUsers(file: string, options: Options): Promise<void> {
  const format = formatOf(file, options.format)
  if (!existsSync(file)) throw new UsageError(`there is no file ${file}`)
  await withAuth((auth) => importInto(auth, file, format, options))
}

async function importInto(auth: Auth, file: string, format: Format, options: Options): Promise<void> {
  const rejects = options.dryRun === true ? null : createWriteStream(`${file}.rejects`, { mode: 0o600 })
  const counts = { added: 0, existing: 0, rejected: 0 }
  let batch: UserRecord[] = []
  const reject = (line: ImportLine, reason: string) => {
    counts.rejected += 1
    rejects?.write(`${JSON.stringify({ line: line.line, reason })}\n`)
    if (counts.rejected <= 5) process.stderr.write(`line ${line.line}: ${reason}\n`)
  }

  async function flush(): Promise<void> {
    if (batch.length === 0) return
    const entry = auth.audit.entry('user_created', SYSTEM, null, { import: true, users: batch.length })
    const created = options.dryRun === true ? await missing(batch) : await auth.storage.users.createMany(batch, entry)
    counts.added += created.size
    counts.existing += batch.length - created.size
    batch = []
    process.stderr.write(`${counts.added} added, ${counts.existing} already there, ${counts.rejected} rejected\r`)
  }

  async function missing(users: readonly UserRecord[]): Promise<ReadonlySet<string>> {
    const found = await Promise.all(users.map((user) => auth.storage.users.findByUsernameKey(user.usernameKey)))
    return new Set(users.filter((_, index) => found[index] === null).map(({ id }) => id))
  }

  try {
    const lines = createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Number.POSITIVE_INFINITY })
    for await (const line of readRecords(lines, format)) {
      const user = toRecord(line, Date.now())
      if (typeof user === 'string') reject(line, user)
      else batch.push(user)
      if (batch.length >= BATCH) await flush()
    }
    await flush()
    process.stderr.write('\n')
  } finally {
    await new Promise<void>((resolve) => (rejects === null ? resolve() : rejects.end(resolve)))
  }
  const rejectsFile = counts.rejected > 0 && rejects !== null ? `${file}.rejects` : null
  print({ ...counts, dryRun: options.dryRun === true, rejectsFile }, options, () => [
    `${options.dryRun === true ? 'would add' : 'added'} ${counts.added}, already there ${counts.existing}, rejected ${counts.rejected}`,
    ...(rejectsFile === null ? [] : [`see ${rejectsFile}`]),
  ])
}

/** Writes every user as a line of JSON that `user import` reads, with hashes only where they are asked for. */
export async function exportUsers(options: { withHashes?: boolean }): Promise<void> {
  await withAuth(async (auth) => {
    for (let after: UserRecord | null = null; ; ) {
      const page: UserRecord[] = await auth.storage.users.list({ search: null, limit: BATCH, after })
      for (const user of page) process.stdout.write(`${JSON.stringify(toRow(user, options.withHashes === true))}\n`)
      after = page.at(-1) ?? null
      if (page.length < BATCH) return
    }
  })
}

function formatOf(file: string, given: string | undefined): Format {
  const name = given ?? (/\.(csv|ndjson)$/.exec(file)?.[1] || (file.endsWith('htpasswd') ? 'htpasswd' : undefined))
  const format = FORMATS.find((known) => known === name)
  if (format === undefined)
    throw new UsageError(`--format must be one of ${FORMATS.join(', ')}${name === undefined ? '' : `, got ${name}`}`)
  return format
}

/** The user that a record names, or why there is none. */
function toRecord({ row }: ImportLine, at: number): UserRecord | string {
  if (row === null) return 'the record cannot be read in this format'
  const result = rowSchema.safeParse(row)
  if (!result.success) return result.error.issues.map(({ path, message }) => `${path.join('.')} ${message}`.trim()).join('; ')
  const { username, password_hash: hash, name, email, email_verified: verified, roles, disabled } = result.data
  const foreign = hash === undefined ? null : readForeignHash(hash)
  if (typeof foreign === 'string') return foreign
  return {
    id: newId(at),
    username,
    usernameKey: usernameKey(username),
    name: name ?? null,
    email: email ?? null,
    emailVerifiedAt: email != null && verified === true ? at : null,
    roles: [...new Set(roles)],
    passwordHash: hash ?? null,
    epoch: 0,
    createdAt: at,
    disabledAt: disabled === true ? at : null,
    lastLoginAt: null,
    attributes: null,
  }
}

function toRow(user: UserRecord, withHash: boolean): Record<string, unknown> {
  return {
    username: user.username,
    name: user.name,
    email: user.email,
    email_verified: user.emailVerifiedAt !== null,
    roles: user.roles,
    disabled: user.disabledAt !== null,
    ...(withHash && user.passwordHash !== null ? { password_hash: user.passwordHash } : {}),
  }
}
