import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createAuth, createServer, sqliteStorage } from '@trpc-login/server'
import { describe, expect, test } from 'vitest'
import { temporaryDirectory } from '../support/process.ts'
import { createAppRouter, createMemoryLog, PASSWORD } from '../support/server.ts'

/** A module as an application has one, evaluated in a directory of its own; then what is told to be run. */
async function evaluate(cwd: string, then: string): Promise<string> {
  const source = `
    import { createAuth, silentLog } from '@trpc-login/server'
    const auth = createAuth({ log: silentLog })
    ${then}`
  const args = ['--conditions=@trpc-login/source', '--input-type=module', '-e', source]
  // The package is found from here, and the database is made in the working directory.
  const resolved = source.replace('@trpc-login/server', join(import.meta.dirname, '../../server/src/index.ts'))
  const { stdout } = await promisify(execFile)(process.execPath, [...args.slice(0, -1), resolved], { cwd })
  return stdout
}

test('ST-3: a module that is only evaluated makes no database and no directory, and its first use makes both', async () => {
  const cwd = temporaryDirectory()
  await evaluate(cwd, 'auth.createContext({ req: { headers: {} } }); void auth.requireUser; await auth.close()')
  expect(readdirSync(cwd)).toEqual([])
  await evaluate(cwd, `await auth.users.create({ username: 'ada' }); await auth.close()`)
  expect(readdirSync(join(cwd, '.trpc-login'))).toContain('login.db')
})

/** What makes a database unfit for use, and what is said of it wherever it is met. */
const UNFIT: Readonly<Record<string, [(dir: string) => void, RegExp]>> = {
  'a file that is no database': [(dir) => writeFileSync(join(dir, 'login.db'), 'notes '.repeat(100), { mode: 0o600 }), /not a database/],
  'a file that others may read': [(dir) => writeFileSync(join(dir, 'login.db'), 'notes '.repeat(100), { mode: 0o644 }), /run: chmod 600/],
  'a directory in its place': [(dir) => mkdirSync(join(dir, 'login.db')), /login\.db/],
}

describe.each(Object.entries(UNFIT))('ST-3: %s', (_name, [spoil, message]) => {
  function createSpoiled() {
    const dir = temporaryDirectory()
    spoil(dir)
    const { log, lines } = createMemoryLog()
    return { auth: createAuth({ storage: sqliteStorage({ path: join(dir, 'login.db') }), log }), lines, dir }
  }

  test('stops a server that starts, with the reason', async () => {
    const { auth, dir } = createSpoiled()
    const starting = createServer({ auth, router: createAppRouter(auth), port: 0, tls: { developmentDir: dir } })
    await expect(starting).rejects.toThrow(message)
    await expect(starting).rejects.toBeInstanceOf(TypeError)
  })

  test('is 503 at the first use, never a pass, and the log says the reason once', async () => {
    const { auth, lines } = createSpoiled()
    for (let n = 0; n < 3; n += 1) {
      const creating = auth.users.create({ username: 'ada', password: PASSWORD })
      await expect(creating).rejects.toMatchObject({ reason: 'unavailable', code: 'SERVICE_UNAVAILABLE' })
      const { auth: request } = auth.createContext({ req: { headers: { cookie: `__Host-session=${'x'.repeat(43)}` } } })
      await expect(request.signedIn()).rejects.toMatchObject({ reason: 'unavailable' })
    }
    expect(lines.filter(({ event }) => event === 'storage_not_fit').map(({ fields }) => fields['error'])).toEqual([
      expect.stringMatching(message),
    ])
  })
})

test('a storage that could not be opened is, once what was wrong is mended', async () => {
  const dir = temporaryDirectory()
  const path = join(dir, 'login.db')
  await sqliteStorage({ path }).check()
  chmodSync(path, 0o644)
  const auth = createAuth({ storage: sqliteStorage({ path }), log: createMemoryLog().log })
  await expect(auth.users.list()).rejects.toMatchObject({ reason: 'unavailable' })
  chmodSync(path, 0o600)
  expect(await auth.users.list()).toEqual({ items: [], nextCursor: null })
  await auth.close()
})
