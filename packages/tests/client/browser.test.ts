import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createPageServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { developmentTls } from '../../server/src/http/development-tls.ts'
import { PASSWORD, startServer } from '../support/server.ts'
import { hasChromium } from '../support/tools.ts'

const GZIP_LIMIT = 15_000

async function bundle(source: string): Promise<string> {
  const result = await build({
    stdin: { contents: source, resolveDir: import.meta.dirname, loader: 'ts' },
    bundle: true,
    write: false,
    minify: true,
    format: 'iife',
    globalName: 'sdk',
    platform: 'browser',
    conditions: ['@trpc-login/source'],
  })
  return result.outputFiles[0]?.text ?? ''
}

const SDK = "export { createClient, reasonOf } from '@trpc-login/client'"

test('the browser build reaches no node: module and stays under 15 kB gzip, tRPC and superjson included', async () => {
  const text = await bundle(SDK)
  const size = gzipSync(text).length
  console.log(`browser bundle: ${text.length} bytes, ${size} gzip`)
  expect(text).not.toMatch(/["']node:|require\(/)
  expect(size).toBeLessThan(GZIP_LIMIT)
})

describe.runIf(hasChromium)('in Chromium', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await chromium.launch({
      executablePath: '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--no-first-run',
      ],
    })
  })
  afterAll(() => browser?.close())

  /** A page of the application's own, beside the API on another port of one host, or elsewhere. */
  async function openPage(host: string) {
    const dir = mkdtempSync(join(tmpdir(), 'trpc-login-page-'))
    const { cert, key } = await developmentTls(dir, '127.0.0.1', Date.now())
    const script = await bundle(SDK)
    const pages = createPageServer({ cert, key }, (req, res) => {
      res.setHeader('content-type', req.url === '/sdk.js' ? 'text/javascript' : 'text/html; charset=utf-8')
      res.end(req.url === '/sdk.js' ? script : '<!doctype html><title>app</title><script src="/sdk.js"></script>')
    })
    await new Promise<void>((resolve) => void pages.listen(0, '127.0.0.1', resolve))
    const origin = `https://${host}:${(pages.address() as AddressInfo).port}`
    const context = await browser.newContext({ ignoreHTTPSErrors: true })
    const page = await context.newPage()
    return {
      origin,
      context,
      async open() {
        await page.goto(origin)
        return page
      },
      async [Symbol.asyncDispose]() {
        await context.close()
        pages.closeAllConnections()
        pages.close()
        rmSync(dir, { recursive: true, force: true })
      },
    }
  }

  test('the SDK signs in, calls, subscribes and signs out, and no script sees the cookie', async () => {
    await using app = await openPage('127.0.0.1')
    await using server = await startServer({ server: { origins: [app.origin] } })
    const page = await app.open()
    const seen = await page.evaluate(
      async ([url, password]) => {
        interface Client {
          api: {
            auth: { login: Mutation; logout: Mutation; me: Query }
            guarded: Query
            ticks: { subscribe(input: undefined, on: object): void }
          }
          session: { subscribe(listener: (state: { status: string }) => void): void; current: { user: { createdAt: Date } } | null }
        }
        type Mutation = { mutate(input?: unknown): Promise<unknown> }
        type Query = { query(): Promise<unknown> }
        const { sdk } = globalThis as unknown as { sdk: { createClient(options: object): Client; reasonOf(error: unknown): string } }
        const { api, session } = sdk.createClient({ url })
        const states: string[] = []
        session.subscribe(({ status }) => states.push(status))
        const before = await api.guarded.query().catch(sdk.reasonOf)
        await api.auth.login.mutate({ username: 'ada', password, remember: true })
        const name = await api.guarded.query()
        const isDate = session.current?.user.createdAt instanceof Date
        const tick = await new Promise((resolve, reject) => api.ticks.subscribe(undefined, { onData: resolve, onError: reject }))
        const script = document.cookie
        await api.auth.logout.mutate()
        const after = await api.guarded.query().catch(sdk.reasonOf)
        return { before, name, isDate, username: (tick as { username: string }).username, script, after, states }
      },
      [server.url, PASSWORD],
    )
    expect(seen).toEqual({
      before: 'not_signed_in',
      name: 'ada',
      isDate: true,
      username: 'ada',
      script: '',
      after: 'not_signed_in',
      states: ['signed_out', 'signed_in', 'signed_out'],
    })
  })

  test('a remembered session survives closing the page, and the cookie is host-bound', async () => {
    await using app = await openPage('127.0.0.1')
    await using server = await startServer({ server: { origins: [app.origin] } })
    const page = await app.open()
    const signIn = `sdk.createClient({ url: ${JSON.stringify(server.url)} }).api.auth.login.mutate({ username: 'ada', password: ${JSON.stringify(PASSWORD)}, remember: true })`
    await page.evaluate(signIn)
    const [cookie] = (await app.context.cookies()).filter(({ name }) => name === '__Host-session')
    expect(cookie).toMatchObject({ httpOnly: true, secure: true, sameSite: 'Lax', path: '/' })
    await page.reload()
    expect(await page.evaluate(`sdk.createClient({ url: ${JSON.stringify(server.url)} }).api.guarded.query()`)).toBe('ada')
  })

  test('CS-3 CS-5: a page of another origin can neither log in, log out nor read', async () => {
    await using evil = await openPage('localhost')
    await using server = await startServer()
    const page = await evil.open()
    const outcomes = await page.evaluate(
      async ([url, password]) => {
        const attempt = (path: string, init: RequestInit) =>
          fetch(`${url}/api/${path}`, { credentials: 'include', ...init }).then(
            (answer) => answer.text(),
            () => 'blocked',
          )
        const body = JSON.stringify({ username: 'ada', password })
        const json = { 'content-type': 'application/json' }
        const form = new FormData()
        form.set('username', 'ada')
        navigator.sendBeacon(`${url}/api/auth.logout`, new Blob(['{}'], { type: 'text/plain' }))
        return Promise.all([
          attempt('auth.login', { method: 'POST', body, headers: json }),
          attempt('auth.login', { method: 'POST', body, headers: json, mode: 'no-cors' }),
          attempt('auth.logout', { method: 'POST', body: form, mode: 'no-cors' }),
          attempt('auth.logout', { method: 'POST', body: '{}' }),
          attempt('auth.me', {}),
          attempt('auth.me', { mode: 'no-cors' }),
        ])
      },
      [server.url, PASSWORD],
    )
    expect(new Set(outcomes.map((text) => text || 'blocked'))).toEqual(new Set(['blocked']))
    await page.setContent(
      `<form method="post" enctype="multipart/form-data" action="${server.url}/api/auth.logout"><input name="a"></form>`,
    )
    const [answer] = await Promise.all([
      page.waitForResponse((response) => response.url().includes('/api/auth.logout')),
      page.evaluate('document.forms[0].submit()'),
    ])
    expect(answer.status()).toBe(403)
    expect(server.lines.filter(({ event }) => event === 'session_revoked' || event === 'authn_login_success')).toEqual([])
    expect(await evil.context.cookies()).toEqual([])
  })
})
