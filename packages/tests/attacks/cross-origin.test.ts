import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { initTRPC } from '@trpc/server'
import { createHTTPHandler } from '@trpc/server/adapters/standalone'
import { type AuthContext, createAuth, formatAuthError, silentLog, sqliteStorage, transformer } from '@trpc-login/server'
import type { Browser } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasChromium, launchChromium } from '../support/chromium.ts'
import { openPage } from '../support/page.ts'
import { cookieOf, PASSWORD, startServer } from '../support/server.ts'

describe.runIf(hasChromium())('CS-2 CS-3: a page of another origin, in Chromium', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launchChromium()
  })
  afterAll(() => browser?.close())

  // Another port of one host is the same site, so that the cookie does travel; another host is cross-site.
  test.each(['127.0.0.1', 'localhost'])('at %s can neither log in, log out nor read anything', async (host) => {
    await using server = await startServer()
    await using evil = await openPage(browser, host, '')
    await evil.context.addCookies([await browserCookie(server)])
    const page = await evil.open()
    const login = { username: 'bob', password: PASSWORD }

    const answers = await page.evaluate(
      async ([url, body]) => {
        const outcomes: string[] = []
        const attempt = async (name: string, path: string, init: RequestInit) => {
          const outcome = await fetch(`${url}/api/${path}`, { credentials: 'include', ...init }).then(
            async (response) => `${response.type} ${response.status} ${await response.text()}`,
            () => 'blocked',
          )
          outcomes.push(`${name}: ${outcome}`)
        }
        for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded']) {
          for (const mode of ['cors', 'no-cors'] as const) {
            await attempt(`login ${type} ${mode}`, 'auth.login', { method: 'POST', mode, body, headers: { 'content-type': type } })
            await attempt(`logout ${type} ${mode}`, 'auth.logout', { method: 'POST', mode, headers: { 'content-type': type } })
          }
        }
        await attempt('multipart', 'auth.logout', { method: 'POST', mode: 'no-cors', body: new FormData() })
        await attempt('read', 'auth.me', {})
        await attempt('read blind', 'auth.me', { mode: 'no-cors' })
        await attempt('logout by GET', 'auth.logout', { mode: 'no-cors' })
        navigator.sendBeacon(`${url}/api/auth.logout`, new Blob(['{}'], { type: 'text/plain' }))
        navigator.sendBeacon(`${url}/api/auth.logout`, new FormData())
        const stream = await new Promise<string>((resolve) => {
          const source = new EventSource(`${url}/api/auth.events`, { withCredentials: true })
          source.addEventListener('error', () => resolve('blocked'))
          source.addEventListener('connected', () => resolve('open'))
        })
        outcomes.push(`stream: ${stream}`)
        return outcomes
      },
      [server.url, JSON.stringify(login)] as const,
    )
    expect(answers.filter((answer) => !/: (blocked|opaque 0 )$/.test(answer))).toEqual([])

    const forms = ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'].flatMap((enctype) =>
      ['auth.logout', 'auth.login'].map((path) => ({ enctype, path })),
    )
    await Promise.all(
      forms.map(async ({ enctype, path }) => {
        const victim = await evil.context.newPage()
        await victim.goto(evil.origin)
        const answered = victim.waitForResponse((candidate) => candidate.url().includes(path))
        await victim.evaluate(
          ([action, type, password]) => {
            const form = document.createElement('form')
            Object.assign(form, { method: 'post', enctype: type, action })
            for (const [name, value] of Object.entries({ username: 'bob', password })) {
              form.append(Object.assign(document.createElement('input'), { name, value }))
            }
            document.body.append(form)
            // Later, because a page that is navigating away answers no more.
            setTimeout(() => form.submit())
          },
          [`${server.url}/api/${path}`, enctype, PASSWORD] as const,
        )
        expect((await answered).status()).toBe(403)
      }),
    )
    const ada = await server.auth.users.findByUsername('ada')
    const bob = await server.auth.users.findByUsername('bob')
    expect(await server.auth.sessions.list(ada?.id ?? '')).toHaveLength(1)
    expect(await server.auth.sessions.list(bob?.id ?? '')).toEqual([])
  })
})

/** Ada's cookie as her browser would hold it. */
async function browserCookie(server: Awaited<ReturnType<typeof startServer>>) {
  const cookie = cookieOf((await server.post('auth.login', { username: 'ada', password: PASSWORD })).headers)
  const [name = '', value = ''] = cookie.split('=')
  return { name, value, url: `${server.url}/`, secure: true, httpOnly: true, sameSite: 'Lax' as const }
}

describe('CS-2: behind an adapter that has no gate of ours', () => {
  const LOGIN = { username: 'ada', password: PASSWORD }

  test('a session acts for the own origin, an allowed one and callers that are no browsers, and for no other', async () => {
    await using app = await startEmbedded(['https://app.example.com'])
    const login = await app.post('auth.login', {}, LOGIN)
    const cookie = cookieOf(login.headers)
    const act = async (headers: Record<string, string>) => (await app.post('auth.sessions.revokeOthers', { cookie, ...headers })).outcome
    expect(await act({})).toBe(200)
    expect(await act({ origin: `https://${app.host}` })).toBe(200)
    expect(await act({ origin: 'https://app.example.com', 'sec-fetch-site': 'cross-site' })).toBe(200)
    expect(await act({ origin: 'http://localhost:3000', 'sec-fetch-site': 'same-origin' })).toBe(200)
    for (const origin of [
      'https://evil.example',
      'null',
      `http://${app.host}`,
      `https://${app.host}.evil.example`,
      'https://app.example.com:444',
    ]) {
      expect(await act({ origin }), origin).toBe('origin_refused')
    }
    expect(await act({ 'sec-fetch-site': 'cross-site' })).toBe('origin_refused')
    expect(await act({ 'sec-fetch-site': 'same-site' })).toBe('origin_refused')
  })

  test('CS-3: nobody is signed in or out from elsewhere, and what needs no session stays open', async () => {
    await using app = await startEmbedded()
    const cookie = cookieOf((await app.post('auth.login', {}, LOGIN)).headers)
    const evil = { origin: 'https://evil.example' }
    const login = await app.post('auth.login', evil, LOGIN)
    expect([login.outcome, login.headers.getSetCookie()]).toEqual(['origin_refused', []])
    expect((await app.post('auth.logout', { ...evil, cookie })).outcome).toBe('origin_refused')
    expect((await app.post('auth.logout', { cookie })).outcome).toBe(200)
    expect((await app.post('open', evil)).outcome).toBe(200)
  })
})

async function startEmbedded(origins: readonly string[] = []) {
  const auth = createAuth({ storage: sqliteStorage({ path: ':memory:' }), log: silentLog, origins })
  await auth.users.create({ username: 'ada', password: PASSWORD })
  const t = initTRPC.context<AuthContext>().create({ transformer, errorFormatter: formatAuthError })
  const router = t.router({ auth: auth.router, open: t.procedure.mutation(() => 'open') })
  const server = createServer(createHTTPHandler({ router, createContext: auth.createContext }))
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    host,
    async post(path: string, headers: Record<string, string>, body: unknown = {}) {
      const init = { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify({ json: body }) }
      const response = await fetch(`http://${host}/${path}`, init)
      const { error } = (await response.json()) as { error?: { json: { data: { reason: string } } } }
      return { outcome: error?.json.data.reason ?? response.status, headers: response.headers }
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await auth.close()
    },
  }
}
