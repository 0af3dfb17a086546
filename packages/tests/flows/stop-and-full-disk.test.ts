import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { Agent, fetch } from 'undici'
import { expect, test } from 'vitest'
import { CLI, cli, run, start, temporaryDirectory } from '../support/process.ts'
import { until } from '../support/remote.ts'
import { type Answer, cookieOf, PASSWORD } from '../support/server.ts'

const FREE = { TRPC_LOGIN_PORT: '0' }
const urlIn = (text: string) => /listening on (\S+)/.exec(text)?.[1] ?? ''

async function addAda(cwd: string): Promise<void> {
  expect((await cli(['user', 'add', 'ada', '--password-stdin'], { cwd, input: `${PASSWORD}\n` })).code).toBe(0)
}

/** A request whose body never comes to its end. */
async function holdOpen(url: string, ca: string) {
  const socket = connect({ host: '127.0.0.1', port: Number(new URL(url).port), ca })
  socket.on('error', () => {})
  await new Promise((resolve) => socket.once('secureConnect', resolve))
  socket.write('POST /api/auth.login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{')
  return socket
}

test('SH-1: a stop waits eight seconds for a request in flight, and a second signal waits for nothing', async () => {
  const cwd = temporaryDirectory()
  const servers = [start(CLI, ['serve'], { cwd, env: FREE }), start(CLI, ['serve'], { cwd, env: FREE })]
  const urls = (await Promise.all(servers.map(({ seen }) => seen('listening on')))).map(urlIn)
  const ca = readFileSync(join(cwd, '.trpc-login/dev-ca.pem'), 'utf8')
  const sockets = await Promise.all(urls.map((url) => holdOpen(url, ca)))
  const from = performance.now()
  for (const { child } of servers) child.kill('SIGTERM')
  const [patient, hurried] = servers
  // Later than one that was only handed on by somebody who was told too.
  setTimeout(() => hurried?.child.kill('SIGTERM'), 600)
  expect((await hurried?.ended)?.code).toBe(1)
  expect(performance.now() - from).toBeLessThan(3000)
  expect((await patient?.ended)?.code).toBe(0)
  expect(performance.now() - from).toBeLessThan(12_000)
  for (const socket of sockets) socket.destroy()
})

test.runIf(process.platform === 'linux')(
  'SS-7 ST-3: while the disk is full, writes are 503 and reads go on; afterwards all is as before',
  async () => {
    const cwd = temporaryDirectory()
    await addAda(cwd)
    const command = `trap '' XFSZ; exec "$0" --conditions=@trpc-login/source "$1" serve`
    const server = run('bash', ['-c', command, process.execPath, CLI], { cwd, env: FREE })
    const url = urlIn(await server.seen('listening on'))
    const dispatcher = new Agent({ connect: { ca: readFileSync(join(cwd, '.trpc-login/dev-ca.pem'), 'utf8') } })
    const call = async (path: string, body: unknown, cookie = '') => {
      const init = body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }
      const headers = { 'content-type': 'application/json', accept: 'application/json', cookie }
      const response = await fetch(`${url}/api/${path}`, { ...init, headers, dispatcher })
      return { status: response.status, headers: response.headers, body: (await response.json()) as Answer }
    }
    const login = () => call('auth.login', { username: 'ada', password: PASSWORD })
    const cookie = cookieOf((await login()).headers)
    // The limit on a file's size stands for the disk's; it can be set and lifted without touching the process.
    const limit = (size: string) => execFileSync('prlimit', ['--pid', String(server.child.pid), `--fsize=${size}:`])

    limit('4096')
    const refused = await login()
    expect([refused.status, refused.body.error?.data.reason, refused.headers.getSetCookie()]).toEqual([503, 'unavailable', []])
    const logout = await call('auth.logout', {}, cookie)
    expect([logout.status, logout.headers.getSetCookie()]).toEqual([503, []])
    expect((await call('auth.sessions.list', undefined, cookie)).status).toBe(200)
    const ready = async () => (await fetch(`${url}/readyz`, { dispatcher })).status
    await until(async () => (await ready()) === 503)

    limit('unlimited')
    expect((await login()).status).toBe(200)
    await until(async () => (await ready()) === 200)
    expect((await call('auth.sessions.list', undefined, cookie)).status).toBe(200)
    await dispatcher.destroy()
  },
)

test.runIf(process.platform === 'linux').each(['to a full disk', 'to nobody'])(
  'SH-4: a log that is written %s does not end the server',
  async (where) => {
    const cwd = temporaryDirectory()
    await addAda(cwd)
    const command = `exec "$0" --conditions=@trpc-login/source "$1" serve ${where === 'to nobody' ? '' : '2>/dev/full'}`
    const server = run('sh', ['-c', command, process.execPath, CLI], { cwd, env: FREE })
    const url = urlIn(await server.seen('listening on'))
    if (where === 'to nobody') server.child.stderr?.destroy()
    const dispatcher = new Agent({ connect: { ca: readFileSync(join(cwd, '.trpc-login/dev-ca.pem'), 'utf8') } })
    const login = async (password: string) => {
      const init = { method: 'POST', body: JSON.stringify({ username: 'ada', password }), headers: { 'content-type': 'application/json' } }
      return (await fetch(`${url}/api/auth.login`, { ...init, dispatcher })).status
    }
    // Each is logged.
    expect([await login('a wrong password'), await login('a wrong password'), await login(PASSWORD)]).toEqual([401, 401, 200])
    await dispatcher.destroy()
    server.child.kill('SIGTERM')
    expect((await server.ended).code).toBe(0)
  },
)
