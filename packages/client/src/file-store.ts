import { randomBytes } from 'node:crypto'
import { constants, type FileHandle, lstat, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import type { CookieStore, StoredCookie } from './cookie-jar.ts'
import { withLock } from './file-lock.ts'

// Far more than any number of origins needs, and read as a whole.
const MAX_BYTES = 1024 * 1024
// Writing takes milliseconds: what is older was left by a program that was killed.
const STALE_MS = 10_000
const TEMPORARY = /^(?:\.lock)?\.[0-9a-f]{12}$/

type Cookies = Record<string, StoredCookie>

/**
 * Keeps session cookies in one file, readable by its owner alone: for command-line tools that stay signed in between runs.
 * @throws Error when the file is a link, of another user, readable by others, or damaged; it says which and what to do
 */
export function fileStore(path: string): CookieStore {
  const file = resolve(path)
  let swept: Promise<void> | undefined
  return {
    async load(origin) {
      await (swept ??= sweep(file))
      return (await read(file))[origin] ?? null
    },
    save: (origin, cookie, replaces) =>
      withLock(`${file}.lock`, async () => {
        await sweep(file)
        const cookies = await read(file)
        if (replaces !== undefined && cookies[origin]?.value !== replaces) return
        if (cookie === null) delete cookies[origin]
        else cookies[origin] = cookie
        await replace(file, JSON.stringify(cookies))
      }),
  }
}

async function read(file: string): Promise<Cookies> {
  const text = await readPrivate(file)
  if (text === null) return emptyCookies()
  try {
    return Object.assign(emptyCookies(), JSON.parse(text) as Cookies)
  } catch (cause) {
    throw notCookies(file, cause)
  }
}

function emptyCookies(): Cookies {
  return Object.create(null) as Cookies
}

function notCookies(file: string, cause?: unknown): Error {
  return new Error(`${file} is not a cookie file; remove it and sign in again`, { cause })
}

async function readPrivate(file: string): Promise<string | null> {
  let handle: FileHandle
  try {
    // Without waiting, as a named pipe in its place would have it.
    handle = await open(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0) | (constants.O_NONBLOCK ?? 0))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    if (code === 'ELOOP') throw new Error(`${file} is a symbolic link; name the file itself`, { cause: error })
    throw error
  }
  try {
    const { mode, uid, size } = await handle.stat()
    const own = process.getuid?.() ?? uid
    if (uid !== own) throw new Error(`${file} belongs to another user (${uid}, this one is ${own}); name a file of your own`)
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) throw new Error(`${file} can be read by other users; run: chmod 600 ${file}`)
    if ((mode & constants.S_IFMT) !== constants.S_IFREG || size > MAX_BYTES) throw notCookies(file)
    return await handle.readFile('utf8')
  } finally {
    await handle.close()
  }
}

/** Old or new, never half: the text is on disk before its name is. */
async function replace(file: string, text: string): Promise<void> {
  const existing = await lstat(file).catch(() => null)
  if (existing?.isSymbolicLink() === true) throw new Error(`${file} is a symbolic link; name the file itself`)
  const temporary = `${file}.${randomBytes(6).toString('hex')}`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** Removes what a program that was killed while it wrote has left: it holds cookies. */
async function sweep(file: string): Promise<void> {
  const [dir, name] = [dirname(file), basename(file)]
  const names = await readdir(dir).catch(() => [])
  for (const found of names) {
    if (!found.startsWith(name) || !TEMPORARY.test(found.slice(name.length))) continue
    const stats = await lstat(join(dir, found)).catch(() => null)
    if (stats !== null && Date.now() - stats.mtimeMs > STALE_MS) await rm(join(dir, found), { force: true })
  }
}
