import { expect, test } from 'vitest'
import { type BehindOptions, PLACES, startBehind } from '../support/behind.ts'
import { PASSWORD } from '../support/server.ts'

const LOGIN = { username: 'ada', password: PASSWORD }
const WRONG = { username: 'ada', password: 'not the password' }
const json = (text: string) => JSON.parse(text) as { result?: { data: unknown }; error?: { data?: { requestId: string }; json?: unknown } }

test.each(PLACES)('%s: who asks for JSON and nothing else is answered in plain JSON, errors too, and others as before', async (place) => {
  await using app = await startBehind(place)
  const plain = await app.post('auth.login', LOGIN)
  expect(json(plain.body)).toMatchObject({ result: { data: { user: { username: 'ada', createdAt: expect.stringMatching(/^\d{4}-/) } } } })
  expect(json((await app.post('auth.login', WRONG)).body)).toMatchObject({ error: { data: { reason: 'invalid_credentials' } } })
  expect(json((await app.get('auth.me')).body)).toEqual({ result: { data: null } })
  for (const accept of ['*/*', 'application/json, text/plain', 'application/json;q=0.9']) {
    const enveloped = await app.post('auth.login', { json: LOGIN }, { accept })
    expect(json(enveloped.body)).toMatchObject({
      result: { data: { json: { user: { username: 'ada' } }, meta: { values: expect.anything() } } },
    })
    expect(json((await app.post('auth.login', WRONG, { accept })).body)).toMatchObject({
      error: { json: { data: { reason: 'invalid_credentials' } } },
    })
  }
  // Of requests that are under way together each has its own.
  const [one, other] = await Promise.all([app.post('auth.login', LOGIN), app.post('auth.login', LOGIN, { accept: '*/*' })])
  expect([one.body, other.body].map((body) => body.startsWith('{"result":{"data":{"json":'))).toEqual([false, true])
})

/** Contexts as applications make them; the first is what the documents show. */
const CONTEXTS: Readonly<Record<string, BehindOptions['context']>> = {
  'at once': (_request, make) => make(),
  'and waits then': async (_request, make) => {
    const context = make()
    await new Promise((resolve) => setTimeout(resolve, 5))
    return context
  },
}

test.each(PLACES)('%s: an error carries the id of its request, which the log has too, and when to come back', async (place) => {
  for (const [name, context] of Object.entries(CONTEXTS)) {
    await using app = await startBehind(place, {
      limits: { failuresPerAddress: 2 },
      clientIp: () => '198.51.100.7',
      ...(context && { context }),
    })
    const ids = new Set<string>()
    for (let n = 0; n < 2; n += 1) {
      const { body } = await app.post('auth.login', WRONG)
      const id = json(body).error?.data?.requestId ?? ''
      expect(id).toMatch(/^[0-9a-f-]{36}$/)
      expect(app.lines.at(-1)).toMatchObject({ event: 'authn_login_fail', fields: { requestId: id } })
      ids.add(id)
    }
    expect([name, ids.size]).toEqual([name, 2])
    const late = await app.post('auth.login', WRONG)
    expect([late.status, late.headers.get('retry-after')]).toEqual([429, '900'])
    // Before there is a context of it: the batch is refused whole.
    const alone = await app.post('open,auth.login?batch=1', { 0: {}, 1: LOGIN })
    expect(alone.body).toContain('auth.login cannot be batched with other calls')
    expect(alone.body).toMatch(/"requestId":"[0-9a-f-]{36}"/)
  }
})

test.each(PLACES)('SS-3 %s: what is about a person is kept by no cache, and what the application says of its own stands', async (place) => {
  await using app = await startBehind(place)
  const cookie = await app.signIn()
  for (const path of ['auth.me', 'auth.sessions.list', 'auth.account.export', 'readsAsUser', 'auth.oauth.providers']) {
    const { status, headers } = await app.get(path, { cookie })
    expect([path, status, headers.get('cache-control')]).toEqual([path, 200, 'no-store'])
  }
  if (place.startsWith('ours')) return
  expect((await app.post('open', {})).headers.get('cache-control')).toBe(null)
  await using own = await startBehind(place, {
    context(request, make) {
      if (request.resHeaders !== undefined) request.resHeaders.set('cache-control', 'private')
      else if (request.res !== undefined && 'raw' in request.res) request.res.header('cache-control', 'private')
      else if (request.res !== undefined && 'getHeader' in request.res) request.res.setHeader('cache-control', 'private')
      return make()
    },
  })
  expect((await own.get('readsAsUser', { cookie: await own.signIn() })).headers.get('cache-control')).toBe('private')
  expect((await own.post('auth.login', LOGIN)).headers.get('cache-control')).toBe('no-store')
})

// The adapter for Lambda that is tried here answers when all is said.
test.each(PLACES.filter((place) => place !== 'lambda'))(
  'CS-7 %s: a page elsewhere, of the same site too, opens no guarded stream',
  async (place) => {
    await using app = await startBehind(place)
    const { cookie } = await app.enter({ username: 'eve', roles: ['editor'] })
    const jsonl = { 'trpc-accept': 'application/jsonl' }
    for (const [headers, isOpen] of [
      [{ origin: 'https://evil.example' }, false],
      [{ 'sec-fetch-site': 'same-site' }, false],
      [{ 'sec-fetch-site': 'cross-site' }, false],
      [{ 'sec-fetch-site': 'same-origin' }, true],
      [{}, true],
    ] as const) {
      app.acts.length = 0
      const stream = await app.begin({ target: 'ticksAsEditor', headers: { cookie, accept: 'text/event-stream', ...headers } })
      expect(stream).toMatch(isOpen ? /^HTTP\/1.1 200 [^]*data: / : /origin_refused/)
      const batch = await app.call({ target: 'readsAsEditor?batch=1', headers: { cookie, ...jsonl, ...headers } })
      expect(batch.body).toMatch(isOpen ? /readsAsEditor/ : /origin_refused/)
      expect(app.acts).toEqual(isOpen ? ['ticksAsEditor', 'readsAsEditor'] : [])
    }
  },
)
