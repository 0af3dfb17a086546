import { once } from 'node:events'
import { mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import { createAuth, silentLog, sqliteStorage } from '@trpc-login/server'
import { fetch } from 'undici'
import { expect, onTestFinished, test } from 'vitest'
import { CLI, cli, start, temporaryDirectory } from '../support/process.ts'
import { type Caller, caller, until, urlIn } from '../support/remote.ts'
import { PASSWORD } from '../support/server.ts'

async function startWorkers(count = 3) {
  const cwd = temporaryDirectory()
  mkdirSync(join(cwd, '.trpc-login'), { mode: 0o700 })
  const auth = createAuth({ storage: sqliteStorage({ path: join(cwd, '.trpc-login/login.db') }), log: silentLog })
  await auth.users.create({ username: 'ada', password: PASSWORD })
  await auth.close()
  const server = start(CLI, ['serve', '--workers', String(count)], { cwd, env: { TRPC_LOGIN_PORT: '0' } })
  const url = urlIn(await server.seen('listening on'))
  return { ...server, cwd, url, ca: readFileSync(join(cwd, '.trpc-login/dev-ca.pem'), 'utf8') }
}

const childrenOf = (pid: number | undefined) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)

/** A connection of its own, and the session it leaves behind. */
function handshake(url: string, ca: string, session?: Buffer): Promise<{ reused: boolean; session: Buffer }> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({
      host: '127.0.0.1',
      port: Number(new URL(url).port),
      ca,
      ...(session === undefined ? {} : { session }),
    })
    socket.once('error', reject)
    // With TLS 1.3 the ticket comes after the handshake, before the first bytes of an answer.
    let next: Buffer = Buffer.alloc(0)
    socket.on('session', (ticket: Buffer) => {
      next = ticket
    })
    socket.once('data', () => {
      resolve({ reused: socket.isSessionReused(), session: next })
      socket.destroy()
    })
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n')
  })
}

test.runIf(process.platform === 'linux')(
  'several processes share a port, a database and TLS sessions; one that dies is replaced, and a signal ends all',
  async () => {
    const server = await startWorkers()
    const workers = childrenOf(server.child.pid)
    expect(workers).toHaveLength(3)
    const first = await handshake(server.url, server.ca)
    const later = []
    for (let i = 0; i < 9; i += 1) later.push((await handshake(server.url, server.ca, first.session)).reused)
    expect(later).toEqual(Array.from({ length: 9 }, () => true))

    const ada = caller(server.url, server.ca)
    expect((await ada.login('ada')).status).toBe(200)
    process.kill(workers[0] ?? 0, 'SIGKILL')
    await until(() => childrenOf(server.child.pid).filter((pid) => !workers.includes(pid)).length === 1)
    await until(async () => (await handshake(server.url, server.ca).catch(() => null)) !== null)
    // Each on a connection of its own, so that all processes get some.
    for (let i = 0; i < 6; i += 1) expect((await caller(server.url, server.ca, ada.cookie()).me())?.user.username).toBe('ada')
    server.child.kill('SIGTERM')
    const { code, stdout } = await server.ended
    expect([code, stdout]).toEqual([0, `listening on ${server.url}\n`])
    expect(workers.filter((pid) => isAlive(pid))).toEqual([])
  },
)

test('RL-3: 50 guesses at once, spread over processes, meet one budget', async () => {
  const server = await startWorkers()
  const callers: Caller[] = Array.from({ length: 50 }, () => caller(server.url, server.ca))
  const statuses = await Promise.all(callers.map(async (each) => (await each.login('ada', 'a wrong password')).status))
  expect(statuses.filter((status) => status === 401).length).toBeLessThanOrEqual(6)
  expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(44)
})

test('processes that cannot start end with the reason, and so does the first', async () => {
  const blocker = createServer()
  onTestFinished(() => void blocker.close())
  const port = await new Promise<number>((resolve) =>
    blocker.listen(0, '127.0.0.1', () => resolve((blocker.address() as { port: number }).port)),
  )
  const { code, stdout, stderr } = await cli(['serve', '--workers', '2'], {
    cwd: temporaryDirectory(),
    env: { TRPC_LOGIN_PORT: String(port) },
  })
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr).toContain('EADDRINUSE')
})

test.each(['0', '65'])('--workers %s is refused as wrong use', async (workers) => {
  const { code, stderr } = await cli(['serve', '--workers', workers], { cwd: temporaryDirectory() })
  expect([code, stderr]).toEqual([2, `trpc-login: --workers must be 1 to 64, got ${workers}\n`])
})

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    // It is gone.
    return false
  }
}

test.runIf(process.platform === 'linux')(
  'SH-1: a signal to all processes at once, as service managers send it, lets requests in flight finish',
  async () => {
    const server = await startWorkers(2)
    const socket = connect({ host: '127.0.0.1', port: Number(new URL(server.url).port), ca: server.ca })
    await once(socket, 'secureConnect')
    const body = JSON.stringify({ username: 'ada', password: PASSWORD })
    const head = `POST /api/auth.login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`
    socket.write(head + body.slice(0, 9))
    // The server has the head once it answers another call that came after it.
    for (let i = 0; i < 4; i += 1) await caller(server.url, server.ca).me()
    for (const pid of [...childrenOf(server.child.pid), server.child.pid ?? 0]) process.kill(pid, 'SIGTERM')
    await sleep(300)
    socket.write(body.slice(9))
    const [answer] = (await once(socket, 'data')) as [Buffer]
    expect(answer.toString()).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect((await server.ended).code).toBe(0)
  },
)

test('a stop during the start ends all processes', async () => {
  const cwd = temporaryDirectory()
  const server = start(CLI, ['serve', '--workers', '2'], { cwd, env: { TRPC_LOGIN_PORT: '0' } })
  await until(() => childrenOf(server.child.pid).length === 2)
  server.child.kill('SIGTERM')
  const { code, stdout } = await server.ended
  expect([code, stdout]).toEqual([0, ''])
})

test('a process whose first one is killed ends by itself', async () => {
  const server = await startWorkers(2)
  const workers = childrenOf(server.child.pid)
  server.child.kill('SIGKILL')
  await until(() => !workers.some(isAlive))
  await expect(fetch(`${server.url}/healthz`)).rejects.toThrow()
})
