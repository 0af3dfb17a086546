import { closeSync, fstatSync, openSync, readFileSync, type Stats, statSync } from 'node:fs'

const OTHERS = 0o007
const GROUP_OR_OTHERS = 0o077
const OTHERS_MAY_WRITE = 0o002
const ROOT = 0

/**
 * Reads a file that holds a secret.
 * @throws TypeError when it cannot be read, or others than its user can read it, with what mends that
 */
export function readSecretFile(path: string): string {
  const file = openToRead(path)
  try {
    const problem = problemWithSecretFile(path, fstatSync(file))
    if (problem !== null) throw new TypeError(problem)
    return readFileSync(file, 'utf8')
  } finally {
    closeSync(file)
  }
}

function openToRead(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (cause) {
    throw new TypeError(`${path} cannot be read: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}; check path, owner and mode`, {
      cause,
    })
  }
}

/**
 * Who else can read a file that holds a secret, and what mends that; `null` when nobody can. What root, or another user, hands over by
 * a group is for that group's programs: so are secrets mounted into containers (PostgreSQL takes its key by the same rule).
 */
export function problemWithSecretFile(path: string, stats: Pick<Stats, 'mode' | 'uid'>): string | null {
  if (process.platform === 'win32') return null
  const byGroup = stats.uid === ROOT || !isOwn(stats)
  if ((stats.mode & (byGroup ? OTHERS : GROUP_OR_OTHERS)) === 0) return null
  const remedy = mayChange(stats)
    ? `run: chmod 600 ${path}`
    : `have its owner, uid ${stats.uid}, run: chmod 640 ${path}; a mounted secret gets mode 0440 and your group where it is mounted`
  return `${path} can be read by other users (mode ${modeOf(stats)}); ${remedy}`
}

/** Who else can enter a directory that is for this user alone, and what mends that; `null` when nobody can. */
export function problemWithPrivateDirectory(path: string, stats: Pick<Stats, 'mode' | 'uid'> = statSync(path)): string | null {
  if (process.platform === 'win32' || (stats.mode & GROUP_OR_OTHERS) === 0) return null
  return `${path} can be entered by other users (mode ${modeOf(stats)}); ${remedyFor(path, stats, 'chmod 700')}`
}

/** Whether everybody can replace what is in a directory, and what mends that; `null` when they cannot. */
export function problemWithDirectory(path: string, stats: Pick<Stats, 'mode' | 'uid'> = statSync(path)): string | null {
  if (process.platform === 'win32' || (stats.mode & OTHERS_MAY_WRITE) === 0) return null
  return `${path} can be written by every user (mode ${modeOf(stats)}); ${remedyFor(path, stats, 'chmod o-w')}`
}

/** A volume, or a directory for all: its mode is not this user's to change, and a directory inside of it is. */
function remedyFor(path: string, stats: Pick<Stats, 'uid'>, command: string): string {
  return mayChange(stats)
    ? `run: ${command} ${path}`
    : `it belongs to uid ${stats.uid}; name a directory inside of it, which is made for you alone, such as ${path}/trpc-login`
}

function isOwn({ uid }: Pick<Stats, 'uid'>): boolean {
  return uid === process.geteuid?.()
}

function mayChange(stats: Pick<Stats, 'uid'>): boolean {
  return isOwn(stats) || process.geteuid?.() === ROOT
}

function modeOf({ mode }: Pick<Stats, 'mode'>): string {
  return (mode & 0o7777).toString(8)
}
