import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build, transform } from 'esbuild'
import { Agent, fetch } from 'undici'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import webpack from 'webpack'
import { installTarballs } from '../support/installed.ts'
import { ROOT, run } from '../support/process.ts'

const LIBRARY = ['@trpc-login/server', '@trpc-login/client/node']
let app: ReturnType<typeof installTarballs>

beforeAll(() => {
  app = installTarballs()
  app.link('@trpc/client', join(ROOT, 'packages/tests/node_modules/@trpc/client'))
}, 60_000)
afterAll(() => app?.remove())

/** What an application's build makes of it, with the library left outside as frameworks do by default. */
const BUILDS: Record<string, (entry: string, outfile: string) => Promise<unknown>> = {
  'bundled by esbuild': (entry, outfile) =>
    build({ entryPoints: [entry], outfile, bundle: true, platform: 'node', format: 'esm', external: LIBRARY, logLevel: 'error' }),
  'bundled by webpack': async (entry, outfile) => {
    const { code } = await transform(readFileSync(entry, 'utf8'), { loader: 'ts', format: 'esm' })
    writeFileSync(`${outfile}.js`, code)
    return new Promise<void>((resolve, reject) => {
      const options = {
        mode: 'production',
        target: 'node',
        entry: `${outfile}.js`,
        externals: LIBRARY,
        externalsType: 'node-commonjs',
      } as const
      webpack({ ...options, context: app.dir, output: { path: app.dir, filename: outfile.slice(app.dir.length + 1) } }, (error, stats) =>
        error === null && stats?.hasErrors() === false ? resolve() : reject(error ?? new Error(stats?.toString())),
      )
    })
  },
  'that says require': async (entry, outfile) => {
    const { code } = await transform(readFileSync(entry, 'utf8'), { loader: 'ts', format: 'cjs', platform: 'node' })
    expect(code).toContain('require("@trpc/server")')
    writeFileSync(outfile, code)
  },
}

async function startApp(name: string) {
  const outfile = join(app.dir, `${name.replaceAll(' ', '-')}.${name === 'bundled by esbuild' ? 'mjs' : 'cjs'}`)
  await BUILDS[name]?.(join(app.dir, 'two-copies.ts'), outfile)
  const started = run(process.execPath, [outfile], { cwd: app.dir })
  const { ours, ca, theirs, seen } = JSON.parse(await started.seen('}\n')) as { ours: string; ca: string; theirs: string; seen: unknown[] }
  const dispatcher = new Agent({ connect: { ca: readFileSync(join(app.dir, ca), 'utf8') } })
  const call = async (url: string, path: string, body?: object, cookie = '') => {
    const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
    const headers = { 'content-type': 'application/json', accept: 'application/json', cookie }
    const response = await fetch(`${url}/api/${path}`, { ...init, headers, dispatcher })
    const answer = (await response.json()) as { error?: { json?: Shape } & Shape }
    const { message, data } = answer.error?.json ?? answer.error ?? { message: null, data: null }
    const cookies = response.headers.getSetCookie().map((line) => line.split(';', 1)[0] ?? '')
    return { status: response.status, message, data, retryAfter: response.headers.get('retry-after'), cookies }
  }
  const stream = async (url: string, path: string) => (await fetch(`${url}/api/${path}`, { dispatcher })).text()
  return { urls: { createServer: ours, 'its own adapter': theirs }, seen, call, stream }
}

interface Shape {
  message: string
  data: { reason: string | null; retryAfter?: number; issues?: unknown; kind?: string }
}

describe.each(Object.keys(BUILDS))('an application %s, which has a tRPC of its own', (name) => {
  test('answers with the reasons of the library, behind its own adapter and behind createServer', async () => {
    const { urls, seen, call, stream } = await startApp(name)
    expect(seen).toEqual(['rate_limited', 7])
    for (const [way, url] of Object.entries(urls)) {
      const isOurs = way === 'createServer'
      const user = { username: isOurs ? 'ada' : 'bob', password: 'correct horse battery' }
      const get = async (path: string, cookie = '') => call(url, path, undefined, cookie)
      expect(await get('guarded'), way).toMatchObject({ status: 401, message: 'Sign in first', data: { reason: 'not_signed_in' } })
      const registered = await call(url, 'auth.register', user)
      expect(registered, way).toMatchObject({ status: 200 })
      expect(await get('guarded', registered.cookies[0]), way).toMatchObject({ status: 200 })
      expect(await get('asAdmin', registered.cookies[0]), way).toMatchObject({ status: 403, data: { reason: 'forbidden' } })
      expect(await call(url, 'auth.register', user), way).toMatchObject({ status: 409, data: { reason: 'conflict' } })
      for (const path of ['ours', 'theirs'])
        expect(await get(path), way).toMatchObject({ status: 409, message: 'Somebody was faster', data: { reason: 'conflict' } })
      expect(await get('waits'), way).toMatchObject({
        status: 429,
        retryAfter: '7',
        data: { reason: 'rate_limited', retryAfter: 7, requestId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string },
      })
      expect(await get('refuses'), way).toMatchObject({
        status: 400,
        message: 'No good',
        data: { reason: 'invalid_input', issues: [{ path: ['a'], message: 'undefined' }] },
      })
      expect(await get('shaped'), way).toMatchObject({ status: 403, message: 'in words of its own', data: { kind: 'own' } })
      expect(await get('fails'), way).toMatchObject({ status: 500, message: 'Internal server error' })
      const numbers = await stream(url, 'numbers')
      expect(
        [...numbers.matchAll(/^data: (\{"json".*)\n(id: .*)$/gm)].map(([, ...parts]) => parts),
        way,
      ).toEqual([
        ['{"json":1}', 'id: n1'],
        ['{"json":2}', 'id: n2'],
      ])
    }
    const guess = () => call(urls.createServer, 'auth.login', { username: 'nobody', password: 'wrong wrong wrong' })
    expect([(await guess()).status, (await guess()).status]).toEqual([401, 401])
    const refused = await guess()
    expect(refused).toMatchObject({ status: 429, data: { reason: 'rate_limited' } })
    expect(Number(refused.retryAfter)).toBe(refused.data?.retryAfter)
  })
})
