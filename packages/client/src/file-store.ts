import { randomBytes } from 'node:crypto'
import { constants, type FileHandle, lstat, mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import type { CookieStore, StoredCookie } from './cookie-jar.ts'

const LOCK_STEP_MS = 20
const LOCK_WAIT_MS = 5000

type Cookies = Record<string, StoredCookie>

/**
 * Keeps session cookies in one file, readable by its owner alone: for command-line tools that stay signed in between runs.
 * @throws Error when the file is a link, readable by others, or damaged; it says which and what to do
 */
export function fileStore(path: string): CookieStore {
  const file = resolve(path)
  return {
    load: async (origin) => (await read(file))[origin] ?? null,
    save: (origin, cookie) =>
      withLock(`${file}.lock`, async () => {
        const cookies = await read(file)
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
    throw new Error(`${file} is not a cookie file; remove it and sign in again`, { cause })
  }
}

function emptyCookies(): Cookies {
  return Object.create(null) as Cookies
}

async function readPrivate(file: string): Promise<string | null> {
  let handle: FileHandle
  try {
    handle = await open(file, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    if (code === 'ELOOP') throw new Error(`${file} is a symbolic link; name the file itself`, { cause: error })
    throw error
  }
  try {
    const { mode } = await handle.stat()
    if (process.platform !== 'win32' && (mode & 0o077) !== 0) throw new Error(`${file} can be read by other users; run: chmod 600 ${file}`)
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
  const handle = await open(temporary, 'wx', 0o600)
  try {
    await handle.writeFile(text)
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(temporary, file)
}

async function withLock<T>(lock: string, run: () => Promise<T>): Promise<T> {
  await mkdir(dirname(lock), { recursive: true, mode: 0o700 })
  for (let waited = 0; !(await take(lock)); waited += LOCK_STEP_MS) {
    // Writing takes milliseconds: a lock this old belongs to a process that died.
    if (waited >= LOCK_WAIT_MS) await rm(lock, { force: true })
    await wait(LOCK_STEP_MS)
  }
  try {
    return await run()
  } finally {
    await rm(lock, { force: true })
  }
}

async function take(lock: string): Promise<boolean> {
  try {
    await (await open(lock, 'wx', 0o600)).close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}
