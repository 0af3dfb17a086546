import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { gzipSync } from 'node:zlib'
import { createClient } from '@trpc-login/client'
import { createClient as createNodeClient, reasonOf } from '@trpc-login/client/node'
import { expect, onTestFinished, test } from 'vitest'
import { run } from '../support/process.ts'
import { until } from '../support/remote.ts'
import { type AppRouter, PASSWORD, startServer } from '../support/server.ts'

const MIB = 1024 * 1024
const TOKEN = 'B'.repeat(43)
const JSON_TYPE = { 'content-type': 'application/json' }
type Options = Partial<Parameters<typeof createClient<AppRouter>>[0]>

/** A server of its own manners, and a client that calls it. */
async function meet(handle: (req: IncomingMessage, res: ServerResponse) => void, options: Options = {}) {
  let sent = 0
  const server = createServer((req, res) => {
    handle(req, res)
    res.once('close', () => (sent += req.socket.bytesWritten))
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const client = createClient<AppRouter>({ url, allowInsecureLoopback: true, ...options })
  onTestFinished(async () => {
    await client.close()
    server.closeAllConnections()
    server.close()
  })
  return { ...client, sent: () => sent }
}

/** Writes on and on, as fast as the other side reads, until it leaves. */
function flood(res: ServerResponse, chunk: Buffer): void {
  const more = () => {
    while (!res.destroyed && res.write(chunk));
  }
  res.on('drain', more)
  more()
}

const failure = (call: Promise<unknown>) =>
  call.then(
    () => 'passed',
    (error: Error) => error.message,
  )

test('CL-7: an answer without end is given up at 16 MiB, or at what the application says', async () => {
  const endless = (_req: IncomingMessage, res: ServerResponse) => {
    res.writeHead(200, JSON_TYPE)
    flood(res, Buffer.alloc(MIB, ' '))
  }
  const byDefault = await meet(endless)
  expect(await failure(byDefault.api.open.query())).toBe(`the answer is longer than ${16 * MIB} bytes`)
  expect(byDefault.sent()).toBeLessThan(40 * MIB)
  const strict = await meet(endless, { maxResponseBytes: 1000 })
  expect(await failure(strict.api.auth.login.mutate({ username: 'ada', password: PASSWORD }))).toBe('the answer is longer than 1000 bytes')
})

test('CL-7: an answer counts as long as it is unpacked', async () => {
  const packed = gzipSync(Buffer.alloc(64 * MIB, ' '))
  expect(packed.length).toBeLessThan(MIB)
  const { api } = await meet((_req, res) => res.writeHead(200, { ...JSON_TYPE, 'content-encoding': 'gzip' }).end(packed))
  expect(await failure(api.open.query())).toBe(`the answer is longer than ${16 * MIB} bytes`)
})

test.each<[string, (res: ServerResponse) => unknown]>([
  ['never comes', () => {}],
  ['comes byte by byte', (res) => dripping(res.writeHead(200, JSON_TYPE))],
])('CL-7: an answer that %s is given up after the time that the application says', async (_name, handle) => {
  const { api } = await meet((_req, res) => handle(res), { timeoutMs: 400 })
  expect(await failure(api.open.query())).toBe('no whole answer within 400 ms')
  expect(await failure(api.authFunc.mutate({}))).toBe('no whole answer within 400 ms')
})

/** Says something again and again, and never ends. */
function dripping(res: ServerResponse): void {
  const timer = setInterval(() => res.write(' '), 20)
  res.once('close', () => clearInterval(timer))
}

test('CL-7: an event without end ends the subscription', async () => {
  const { api, sent } = await meet(
    (_req, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      res.write('data: ')
      flood(res, Buffer.alloc(64 * 1024, 'x'))
    },
    { maxResponseBytes: MIB },
  )
  const error = await new Promise<Error>((resolve) => void api.ticks.subscribe(undefined, { onError: resolve }))
  expect(error.message).toContain('max buffer size')
  expect(sent()).toBeLessThan(20 * MIB)
})

test('CL-7: a stream is connected once a second at most, however soon the server asks for it', async () => {
  for (const text of ['retry: 0\n\n', 'event: connected\ndata: {"reconnectAfterInactivityMs":1}\n\n']) {
    const at: number[] = []
    const { api } = await meet((_req, res) => {
      at.push(performance.now())
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(text)
      if (text.startsWith('retry')) res.end()
    })
    const { unsubscribe } = api.ticks.subscribe(undefined, { onError: () => {} })
    await until(() => at.length >= 3)
    unsubscribe()
    const [first = 0, , third = 0] = at
    expect(third - first).toBeGreaterThan(1900)
  }
})

test('CL-7: a subscription that is refused before it begins tells the reason, or at least the status', async () => {
  const error = { message: 'Not from here', code: -32003, data: { code: 'FORBIDDEN', httpStatus: 403, reason: 'origin_refused' } }
  const told = await meet((_req, res) => res.writeHead(403, JSON_TYPE).end(JSON.stringify({ error: { json: error } })))
  const refused = await new Promise<Error>((resolve) => void told.api.ticks.subscribe(undefined, { onError: resolve }))
  expect([refused.message, reasonOf(refused)]).toEqual(['Not from here', 'origin_refused'])
  const mute = await meet((_req, res) => res.writeHead(502, JSON_TYPE).end('<html>'))
  const broken = await new Promise<Error>((resolve) => void mute.api.ticks.subscribe(undefined, { onError: resolve }))
  expect(broken.message).toContain('502')
})

test('CL-8: cookies that are many, long, or no cookies at all are not kept, and those that are too many fail the call', async () => {
  let lines: string[] = []
  const seen: (string | undefined)[] = []
  const { api } = await meet((req, res) => {
    seen.push(req.headers.cookie)
    res.writeHead(200, { ...JSON_TYPE, 'set-cookie': lines }).end('[{"result":{"data":{"json":null}}}]')
  })
  lines = [`__Host-session=${'x'.repeat(5000)}; Path=/; Secure`, '__Host-session=a"b c; Path=/; Secure', ...Array(50).fill('x=y')]
  await api.open.query()
  lines = [`__Host-session=${TOKEN}; Path=/; Secure; Max-Age=1e300`, '__Host-session=; Path=/x; Secure']
  await api.open.query()
  lines = Array.from({ length: 20_000 }, () => 'x=y')
  expect(await failure(api.open.query())).not.toBe('passed')
  expect(seen).toEqual([undefined, undefined, `__Host-session=${TOKEN}`])
})

test('CL-4: an error does not show the token that came with the answer, nor one that was stored badly', async () => {
  const { api } = await meet((_req, res) =>
    res.writeHead(200, { ...JSON_TYPE, 'set-cookie': `__Host-session=${TOKEN}; Path=/; Secure` }).end('{"result":'),
  )
  const error: unknown = await api.auth.login.mutate({ username: 'ada', password: PASSWORD }).catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Error)
  const printed = [inspect(error, { depth: 10, showHidden: true }), JSON.stringify(error), String(error)].join()
  expect(printed).not.toContain(TOKEN)
  const headers = (error as { meta?: { response?: Response } }).meta?.response?.headers
  expect(JSON.stringify([...(headers ?? [])])).not.toContain(TOKEN)

  const store = { load: async () => ({ value: `${TOKEN}\r\nx: y`, expiresAt: null }), save: async () => {} }
  const bad = await meet(
    (req, res) => res.writeHead(200, JSON_TYPE).end(JSON.stringify([{ result: { data: { json: req.headers.cookie ?? null } } }])),
    {
      store,
    },
  )
  expect(await bad.api.open.query()).toBe(null)
})

test.each(['javascript:alert(1)', 'file:///etc/passwd', '\u001b[2J', 'vscode://x'])(
  'an address to sign in at that is none of the web is not opened: %j',
  async (url) => {
    const { session } = await meet((_req, res) =>
      res.writeHead(200, JSON_TYPE).end(JSON.stringify({ result: { data: { json: { url } } } })),
    )
    const opened: string[] = []
    await expect(session.signInWith('test', { open: (at) => opened.push(at) })).rejects.toThrow()
    expect(opened).toEqual([])
  },
)

test('CL-6: NODE_TLS_REJECT_UNAUTHORIZED=0 leaves the SDK looking at certificates, in both entries, calls and streams', async () => {
  await using server = await startServer()
  const code = `
    const { createClient } = await import('@trpc-login/client')
    const { createClient: createNodeClient } = await import('@trpc-login/client/node')
    const failed = (call) => call.then(() => 'passed', (error) => error.cause?.cause?.code ?? error.cause?.code ?? error.message)
    const control = await failed(fetch('${server.url}/healthz'))
    const results = []
    for (const create of [createClient, createNodeClient]) {
      const { api, close } = create({ url: '${server.url}' })
      results.push(await failed(api.open.query()), await failed(api.auth.login.mutate({ username: 'ada', password: 'x' })))
      results.push(await new Promise((resolve) => {
        const { unsubscribe } = api.ticks.subscribe(undefined, {
          onData: () => resolve('passed'), onError: (error) => resolve(error.data?.reason ?? 'failed'),
          onConnectionStateChange: ({ error }) => { if (error) { unsubscribe(); resolve('failed') } },
        })
      }))
      await close()
    }
    console.log(JSON.stringify({ control, results }))`
  const env = { NODE_TLS_REJECT_UNAUTHORIZED: '0', NODE_NO_WARNINGS: '1' }
  const args = ['--conditions=@trpc-login/source', '--input-type=module', '-e', code]
  const { stdout, stderr } = await run(process.execPath, args, { cwd: import.meta.dirname, env }).ended
  expect(stderr).toBe('')
  const { control, results } = JSON.parse(stdout) as { control: string; results: string[] }
  expect(control).toBe('passed')
  const refused = expect.stringMatching(/CERT|SELF_SIGNED|UNABLE_TO_VERIFY/) as string
  expect(results).toEqual([refused, refused, 'failed', refused, refused, 'failed'])
})

test.each([{ timeoutMs: 0 }, { timeoutMs: Number.NaN }, { timeoutMs: 2 ** 31 }, { maxResponseBytes: -1 }])(
  '%j is refused as a bound',
  (bounds) => {
    expect(() => createNodeClient<AppRouter>({ url: 'https://example.com', ...bounds })).toThrow(
      'timeoutMs and maxResponseBytes must be positive',
    )
  },
)
