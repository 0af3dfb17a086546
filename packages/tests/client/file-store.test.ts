import { spawn } from 'node:child_process'
import { chmodSync, chownSync, existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { fileStore } from '@trpc-login/client/node'
import { expect, onTestFinished, test } from 'vitest'
import { run, temporaryDirectory } from '../support/process.ts'

const ORIGIN = 'https://a.example'
const TOKEN = 'C'.repeat(43)
const COOKIE = { value: TOKEN, expiresAt: null }

const namesBeside = (path: string) => readdirSync(dirname(path)).filter((name) => name !== basename(path))

const unfinishedBeside = (path: string) => namesBeside(path).filter((name) => !name.endsWith('.lock'))

/** Tightly: what is waited for may be there for a millisecond. */
async function untilSeen(isThere: () => boolean): Promise<void> {
  while (!isThere()) await nextTurn()
}

/** Lets files look as if they had been left some time ago. */
function age(dir: string): void {
  const then = new Date(Date.now() - 60_000)
  for (const name of readdirSync(dir)) utimesSync(join(dir, name), then, then)
}

test('CL-3: what a program that was killed while it wrote has left is removed by the next that reads or writes, and the cookies are whole', async () => {
  const path = join(temporaryDirectory(), 'cookies.json')
  const code = `
    const { fileStore } = await import('@trpc-login/client/node')
    const store = fileStore(${JSON.stringify(path)})
    for (let n = 0; ; n += 1) await store.save('${ORIGIN}', { value: 'D'.repeat(43), expiresAt: n })`
  let left = 0
  for (let round = 0; round < 40 && left < 2; round += 1) {
    const child = spawn(process.execPath, ['--conditions=@trpc-login/source', '--input-type=module', '-e', code], {
      cwd: import.meta.dirname,
    })
    onTestFinished(() => void child.kill('SIGKILL'))
    // Killed while what it writes is there under another name.
    await untilSeen(() => existsSync(path) && unfinishedBeside(path).length > 0)
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
    expect((await fileStore(path).load(ORIGIN))?.value).toBe('D'.repeat(43))
    if (unfinishedBeside(path).length > 0) left += 1
    age(dirname(path))
    if (round % 2 === 0) await fileStore(path).load(ORIGIN)
    else await fileStore(path).save('https://b.example', COOKIE)
    expect(unfinishedBeside(path)).toEqual([])
  }
  // Otherwise nothing was shown.
  expect(left).toBeGreaterThan(0)
})

test('CL-3: what another program is writing at this moment is left alone, and so are files of other names', async () => {
  const path = join(temporaryDirectory(), 'cookies.json')
  for (const name of ['.0123456789ab', '.json', '.0123456789abc']) writeFileSync(`${path}${name}`, 'x')
  await fileStore(path).save(ORIGIN, COOKIE)
  expect(namesBeside(path)).toEqual(['cookies.json.0123456789ab', 'cookies.json.0123456789abc', 'cookies.json.json'])
  age(dirname(path))
  await fileStore(path).save(ORIGIN, COOKIE)
  expect(namesBeside(path)).toEqual(['cookies.json.0123456789abc', 'cookies.json.json'])
})

test('CL-3: a lock that a killed program has left holds nobody up for long, and of 20 that wait for it none writes over another', async () => {
  const path = join(temporaryDirectory(), 'cookies.json')
  writeFileSync(`${path}.lock`, '')
  age(dirname(path))
  await Promise.all(Array.from({ length: 20 }, (_, n) => fileStore(path).save(`https://a${n}.example`, COOKIE)))
  expect(Object.keys(JSON.parse(readFileSync(path, 'utf8')) as object)).toHaveLength(20)
  expect(namesBeside(path)).toEqual([])
})

test('a cookie is removed only as long as it is the one that was meant', async () => {
  const store = fileStore(join(temporaryDirectory(), 'cookies.json'))
  await store.save(ORIGIN, COOKIE)
  await store.save(ORIGIN, null, 'another')
  expect(await store.load(ORIGIN)).toEqual(COOKIE)
  await store.save(ORIGIN, null, TOKEN)
  expect(await store.load(ORIGIN)).toBe(null)
})

test.runIf(process.getuid?.() === 0)('CL-3: a file of another user is neither read nor replaced', async () => {
  const path = join(temporaryDirectory(), 'cookies.json')
  await fileStore(path).save(ORIGIN, COOKIE)
  chownSync(path, 65_534, 65_534)
  const refusal = `${path} belongs to another user (65534, this one is 0)`
  await expect(fileStore(path).load(ORIGIN)).rejects.toThrow(refusal)
  await expect(fileStore(path).save(ORIGIN, COOKIE)).rejects.toThrow(refusal)
})

test('CL-3: a named pipe, a directory and a file that is far too large are no cookie files, and hold nobody up', async () => {
  const dir = temporaryDirectory()
  const [pipe, large] = [join(dir, 'pipe'), join(dir, 'large')]
  expect((await run('mkfifo', ['-m', '600', pipe], { cwd: dir }).ended).code).toBe(0)
  writeFileSync(large, `{"x":"${'y'.repeat(1024 * 1024)}"}`, { mode: 0o600 })
  chmodSync(dir, 0o700)
  for (const path of [pipe, large, dir]) await expect(fileStore(path).load(ORIGIN), path).rejects.toThrow('is not a cookie file')
})

test('CL-3 CL-4: what a file holds that is no cookie is not sent', async () => {
  const path = join(temporaryDirectory(), 'cookies.json')
  const { createCookieJar } = await import('../../client/src/cookie-jar.ts')
  for (const cookie of [
    'x',
    5,
    {},
    { value: 5 },
    { value: '', expiresAt: null },
    { value: 'a\nb', expiresAt: null },
    { value: TOKEN, expiresAt: 'x' },
  ]) {
    writeFileSync(path, JSON.stringify({ [ORIGIN]: cookie }), { mode: 0o600 })
    const jar = createCookieJar({ name: '__Host-session', origin: ORIGIN, store: fileStore(path), now: () => 0 })
    expect(await jar.read(), JSON.stringify(cookie)).toBe(null)
  }
})
