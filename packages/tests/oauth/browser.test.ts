import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { oidc } from '@trpc-login/server/providers'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createOidcProvider } from '../../server/src/providers/oidc.ts'
import { hasChromium, launchChromium } from '../support/chromium.ts'
import { bundleSdk, openPage } from '../support/page.ts'
import { freePort, start, temporaryDirectory } from '../support/process.ts'
import { MINUTE, PASSWORD, startServer } from '../support/server.ts'
import { trust } from '../support/test-provider.ts'

const PROVIDER = join(import.meta.dirname, '../support/oidc-provider.ts')

/** A server of ours, a real provider in a process of its own on another site, and a page of the application's. */
async function startAll(browser: Browser, { pagesElsewhere = false } = {}) {
  const port = await freePort()
  const dir = temporaryDirectory()
  const redirects = ['idp', 'form'].map((id) => `https://127.0.0.1:${port}/oauth/${id}/callback`)
  const said = await start(PROVIDER, [dir, ...redirects], { cwd: dir }).seen('listening on')
  trust(readFileSync(join(dir, 'dev-ca.pem'), 'utf8'))
  const credentials = { issuer: said.match(/https:\S+/)?.[0] ?? '', clientId: 'app', clientSecret: 'a-secret-of-the-test-alone' }
  const app = await openPage(browser, '127.0.0.1', await bundleSdk())
  const server = await startServer({
    registration: 'open',
    providers: [
      oidc({ id: 'idp', name: 'IdP', ...credentials }),
      createOidcProvider(
        { id: 'form', name: 'IdP by form', ...credentials },
        { formPost: true, parameters: { response_mode: 'form_post' } },
      ),
    ],
    server: { port, origins: [app.origin] },
    ...(pagesElsewhere ? { appUrl: app.origin } : {}),
  })
  return {
    app,
    server,
    /** Runs a call of the SDK on the application's page. */
    run: (page: Page, code: string) =>
      page.evaluate(`(({ api, session }) => ${code})(sdk.createClient({ url: ${JSON.stringify(server.url)} }))`),
    async [Symbol.asyncDispose]() {
      await app[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Signs in at the provider, and agrees to what the application asks for. */
async function agree(page: Page, login: string): Promise<void> {
  await page.fill('input[name=login]', login)
  await page.fill('input[name=password]', 'whatever')
  await page.click('button[type=submit]')
  // Whoever agreed before is sent on at once.
  if (page.url().includes('/interaction/')) await page.click('button[type=submit]')
}

describe.runIf(hasChromium())('with a real provider in Chromium', () => {
  let browser: Browser
  beforeAll(async () => {
    browser = await launchChromium()
  })
  afterAll(() => browser?.close())

  test.each(['idp', 'form'])('the SDK signs in with %s, remembers, and comes back to where it was told', async (provider) => {
    await using all = await startAll(browser)
    const page = await all.app.open()
    void all.run(page, `session.signInWith('${provider}', { returnTo: '/healthz?from=provider', remember: true })`).catch(() => {})
    await page.waitForURL(/\/interaction\//)
    await agree(page, 'grace')
    await page.waitForURL(`${all.server.url}/healthz?from=provider`)
    const cookies = await all.app.context.cookies()
    expect(cookies.find(({ name }) => name === '__Host-session')).toMatchObject({
      httpOnly: true,
      secure: true,
      sameSite: 'Lax',
      path: '/',
    })
    expect(cookies.find(({ name }) => name === '__Host-sign-in')).toMatchObject({
      httpOnly: true,
      secure: true,
      sameSite: 'Lax',
      path: '/',
    })
    await page.goto(all.app.origin)
    expect(await all.run(page, 'session.refresh()')).toMatchObject({
      user: { username: 'grace', name: 'grace of the provider', email: 'grace@example.com', emailVerified: true },
      session: { remembered: true, fresh: true },
    })
  })

  test('an application whose pages live at another origin gets the person back there', async () => {
    await using all = await startAll(browser, { pagesElsewhere: true })
    const page = await all.app.open()
    void all.run(page, "session.signInWith('idp', { returnTo: '/inbox#new' })").catch(() => {})
    await page.waitForURL(/\/interaction\//)
    await agree(page, 'grace')
    await page.waitForURL(`${all.app.origin}/inbox#new`)
    expect(await all.run(page, 'session.refresh().then((me) => me.user.username)')).toBe('grace')
  })

  test('a user links, signs in by it, and proves it again at the provider when a session is no longer fresh', async () => {
    await using all = await startAll(browser)
    const page = await all.app.open()
    await all.run(page, `api.auth.login.mutate({ username: 'ada', password: ${JSON.stringify(PASSWORD)} }).then(() => true)`)
    const goThrough = async (options: object) => {
      void all.run(page, `session.signInWith('idp', ${JSON.stringify({ returnTo: '/healthz', ...options })})`).catch(() => {})
      await page.waitForURL(/\/interaction\//)
      await agree(page, 'grace')
      await page.waitForURL(`${all.server.url}/healthz`)
      await page.goto(all.app.origin)
    }
    await goThrough({ link: true })
    expect(await all.run(page, 'api.auth.oauth.identities.query().then((list) => list.map(({ subject }) => subject))')).toEqual(['grace'])
    await all.run(page, 'api.auth.logout.mutate().then(() => true)')
    void all.run(page, "session.signInWith('idp', { returnTo: '/healthz' })").catch(() => {})
    await page.waitForURL(`${all.server.url}/healthz`)
    await page.goto(all.app.origin)
    expect(await all.run(page, 'session.refresh().then((me) => me.user.username)')).toBe('ada')
    all.server.clock.advance(20 * MINUTE)
    expect(await all.run(page, 'api.fresh.query().catch(sdk.reasonOf)')).toBe('reauthentication_required')
    await goThrough({})
    expect(await all.run(page, 'api.fresh.query()')).toBe('ada')
  })

  test('whoever cancels at the provider reads so, and is not signed in', async () => {
    await using all = await startAll(browser)
    const page = await all.app.open()
    void all.run(page, "session.signInWith('idp')").catch(() => {})
    await page.waitForURL(/\/interaction\//)
    await page.click('text=Cancel')
    await page.waitForURL(/\/oauth\/idp\/callback/)
    expect(await page.textContent('body')).toContain('The sign-in was cancelled')
    await page.goto(all.app.origin)
    expect(await all.run(page, 'session.refresh()')).toBe(null)
  })

  test('RFC 8252: a program in Node shows an address, the browser that opens it signs the program in, and not itself', async () => {
    await using all = await startAll(browser)
    const { api, session } = all.server.client()
    const page = await all.app.open()
    const signedIn = await session.signInWith('idp', {
      remember: true,
      async open(url) {
        await page.goto(url)
        await agree(page, 'grace')
      },
    })
    expect(signedIn).toMatchObject({ user: { username: 'grace' }, session: { remembered: true, fresh: true } })
    expect(session.current?.user.username).toBe('grace')
    expect(await api.guarded.query()).toBe('grace')
    expect(await page.textContent('body')).toBe('You are signed in. You can close this window.')
    expect((await all.app.context.cookies()).filter(({ name }) => name.startsWith('__Host-'))).toEqual([])
  })
})
