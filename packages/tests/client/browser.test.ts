import { gzipSync } from 'node:zlib'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasChromium, launchChromium } from '../support/chromium.ts'
import { bundleSdk, openPage } from '../support/page.ts'
import { PASSWORD, startServer } from '../support/server.ts'

const GZIP_LIMIT = 15_000

test('the browser build reaches no node: module and stays under 15 kB gzip, tRPC and superjson included', async () => {
  const text = await bundleSdk()
  const size = gzipSync(text).length
  console.log(`browser bundle: ${text.length} bytes, ${size} gzip`)
  expect(text).not.toMatch(/["']node:|require\(/)
  expect(size).toBeLessThan(GZIP_LIMIT)
})

describe.runIf(hasChromium())('in Chromium', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launchChromium()
  })
  afterAll(() => browser?.close())

  const openAppPage = async (host: string) => openPage(browser, host, await bundleSdk())

  test('the SDK signs in, calls, subscribes and signs out, and no script sees the cookie', async () => {
    await using app = await openAppPage('127.0.0.1')
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
    await using app = await openAppPage('127.0.0.1')
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
    await using evil = await openAppPage('localhost')
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
