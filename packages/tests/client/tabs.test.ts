import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hasChromium, launchChromium } from '../support/chromium.ts'
import { bundleSdk, openPage } from '../support/page.ts'
import { until } from '../support/remote.ts'
import { PASSWORD, startServer } from '../support/server.ts'

const TABS = 8
const EVENTS = '/api/auth.events'

/** What a tab has seen of its stream. */
interface Seen {
  states: string[]
  events: string[]
  failure: string | null
}

/** Follows `auth.events` in a page, and keeps what comes. */
async function follow(page: Page, url: string): Promise<void> {
  await page.evaluate(`
    globalThis.client = sdk.createClient({ url: ${JSON.stringify(url)} })
    globalThis.seen = { states: [], events: [], failure: null }
    globalThis.subscription = client.api.auth.events.subscribe(undefined, {
      onConnectionStateChange: ({ state }) => seen.states.push(state),
      onData: ({ type, at }) => seen.events.push(at instanceof Date ? type : 'no date'),
      onError: (error) => { seen.failure = sdk.reasonOf(error) ?? error.message },
    })`)
}

const seenBy = (page: Page) => page.evaluate<Seen>('seen')
const isOpen = async (page: Page) => (await seenBy(page)).states.at(-1) === 'pending'
const all = async (pages: readonly Page[], holds: (page: Page) => Promise<boolean>) => (await Promise.all(pages.map(holds))).every(Boolean)
const query = (page: Page) =>
  page.evaluate("Promise.race([client.api.guarded.query(), new Promise((resolve) => setTimeout(resolve, 5000, 'nothing came'))])")

describe.runIf(hasChromium())('in Chromium', () => {
  let browser: Browser
  let script = ''
  beforeAll(async () => {
    browser = await launchChromium()
    script = await bundleSdk()
  })
  afterAll(() => browser?.close())

  /** A server, and an application's origin with tabs on it, signed in; streams are counted by the tab that opens them. */
  async function openTabs() {
    const app = await openPage(browser, '127.0.0.1', script)
    const server = await startServer({ server: { origins: [app.origin] } })
    const streams: Page[] = []
    app.context.on('request', (request) => {
      if (request.url().includes(EVENTS)) streams.push(request.frame().page())
    })
    const first = await app.open()
    await first.evaluate(
      `sdk.createClient({ url: ${JSON.stringify(server.url)} }).api.auth.login.mutate({ username: 'ada', password: '${PASSWORD}' })`,
    )
    const openTab = async () => {
      const page = await app.context.newPage()
      await page.goto(app.origin)
      await follow(page, server.url)
      return page
    }
    await follow(first, server.url)
    return {
      server,
      streams,
      first,
      openTab,
      async [Symbol.asyncDispose]() {
        await app[Symbol.asyncDispose]()
        await server[Symbol.asyncDispose]()
      },
    }
  }

  test('eight tabs that follow auth.events share one connection, so that the calls of each are answered', async () => {
    await using tabs = await openTabs()
    const { server, streams } = tabs
    const pages = [tabs.first]
    while (pages.length < TABS) pages.push(await tabs.openTab())
    await until(() => all(pages, isOpen))
    expect(await Promise.all(pages.map(query))).toEqual(Array(TABS).fill('ada'))
    expect(streams).toEqual([tabs.first])

    const phone = await server.signIn()
    await until(() => all(pages, async (page) => (await seenBy(page)).events.includes('signed_in')))

    // The tab that holds the stream goes, and another takes over.
    await tabs.first.close()
    const others = pages.slice(1)
    await until(() => streams.length === 2)
    await until(() => all(others, async (page) => (await seenBy(page)).states.join().endsWith('pending,connecting,pending')))
    expect(others).toContain(streams[1])
    await phone.api.auth.logout.mutate()
    await until(() => all(others, async (page) => (await seenBy(page)).events.includes('session_revoked')))
    expect(await Promise.all(others.map(query))).toEqual(Array(TABS - 1).fill('ada'))

    const ada = await server.auth.users.findByUsername('ada')
    await server.auth.sessions.revokeAll(ada?.id ?? '')
    await until(() => all(others, async (page) => (await seenBy(page)).failure !== null))
    const ends = await Promise.all(others.map(seenBy))
    // Each makes sure that it is its own session that has ended: the first to ask has the cookie cleared, and those that ask after that
    // have none any more.
    const failures = new Set(ends.map(({ failure }) => failure))
    expect(failures).toContain('session_ended')
    expect([...failures].filter((failure) => failure !== 'session_ended' && failure !== 'not_signed_in')).toEqual([])
    expect(streams.length).toBeLessThanOrEqual(2 + TABS)
  })

  test('a tab that is too fast asleep to answer loses the stream to one that is looked at, and follows it when it wakes', async () => {
    await using tabs = await openTabs()
    const { server, streams, first } = tabs
    await until(() => isOpen(first))
    const asleep = await first.context().newCDPSession(first)
    await asleep.send('Debugger.enable')
    await asleep.send('Debugger.pause')
    const second = await tabs.openTab()
    await until(() => isOpen(second), 15_000)
    expect(streams).toEqual([first, second])
    await asleep.send('Debugger.disable')
    await until(async () => (await seenBy(first)).states.length > 2)
    await server.signIn()
    await until(() => all([first, second], async (page) => (await seenBy(page)).events.includes('signed_in')))
    expect(streams).toEqual([first, second])
  })

  test('a tab that follows a new session is not ended with the one before it', async () => {
    await using tabs = await openTabs()
    const { server, first } = tabs
    await until(() => isOpen(first))
    const second = await tabs.openTab()
    await until(() => isOpen(second))
    await second.evaluate('subscription.unsubscribe()')
    await second.evaluate(`client.api.auth.login.mutate({ username: 'bob', password: '${PASSWORD}' })`)
    await follow(second, server.url)
    await until(async () => (await seenBy(first)).failure === 'session_ended')
    await until(async () => isOpen(second))
    await server.signIn('bob')
    await until(async () => (await seenBy(second)).events.includes('signed_in'))
    expect([(await seenBy(second)).failure, await query(second)]).toEqual([null, 'bob'])
  })

  test('a tab that stops following, or never followed, leaves the others alone', async () => {
    await using tabs = await openTabs()
    const second = await tabs.openTab()
    await until(() => all([tabs.first, second], isOpen))
    await tabs.first.evaluate('subscription.unsubscribe()')
    await until(() => tabs.streams.length === 2)
    await until(async () => (await seenBy(second)).states.join().endsWith('pending,connecting,pending'))
    await tabs.server.signIn()
    await until(async () => (await seenBy(second)).events.includes('signed_in'))
    expect((await seenBy(tabs.first)).events).toEqual([])
    expect(tabs.streams).toEqual([tabs.first, second])
  })
})
