// Kills a server 50 times, or its PostgreSQL 10 times, in the middle of mixed writes, and looks whether anything that was acknowledged is
// gone or undone. ENGINE is sqlite or postgres, TARGET is server or database.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, fetch } from 'undici'
import { caller, until } from '../support/remote.ts'
import { makeLoadDatabase, serve } from '../support/serve.ts'
import { cookieOf, PASSWORD } from '../support/server.ts'

const ENGINE = process.env['ENGINE'] ?? 'sqlite'
const TARGET = process.env['TARGET'] ?? 'server'
const KILLS = Number(process.env['KILLS'] ?? (TARGET === 'server' ? 50 : 10))
const WRITERS = 4
const dir = mkdtempSync(join(tmpdir(), 'trpc-login-kill-'))
const live = new Set<string>()
const ended = new Set<string>()
const names = new Map<string, string>()
let acts = 0
let checks = 0
let lost = 0
let undone = 0

// The users are made beforehand, in process: what is tried here is what a running server acknowledges.
const database = await makeLoadDatabase(ENGINE, dir, WRITERS)
let served = await start()
for (let round = 0; round < KILLS; round += 1) {
  const { child, url, agent } = served
  await check(url, agent)
  let running = true
  const writers = Array.from({ length: WRITERS }, (_, writer) => write(writer, url, agent, () => running))
  await sleep(150 + Math.random() * 600)
  if (TARGET === 'database') {
    await database.server?.kill()
    await database.server?.start()
    await until(async () => (await caller(url, served.ca).ready()) === 200)
  } else {
    child.kill('SIGKILL')
  }
  running = false
  await Promise.all(writers)
  if (TARGET === 'database') continue
  await agent.destroy()
  served = await start()
}
await check(served.url, served.agent)
await served.agent.destroy()
await served.stop()
await database.remove()
rmSync(dir, { recursive: true })
console.log(`${ENGINE}: ${TARGET} killed ${KILLS} times, ${acts} acknowledged acts: ${lost} lost, ${undone} revocations undone`)
process.exit(lost + undone === 0 ? 0 : 1)

async function start() {
  const server = await serve(dir, database.env)
  return { ...server, agent: new Agent({ connect: { ca: server.ca } }) }
}

async function call(url: string, dispatcher: Agent, path: string, body: unknown, cookie = '', address = '::1') {
  const headers = { 'content-type': 'application/json', accept: 'application/json', cookie, 'x-forwarded-for': address }
  const isQuery = body === undefined
  const response = await fetch(`${url}/api/${path}`, {
    method: isQuery ? 'GET' : 'POST',
    headers,
    dispatcher,
    ...(isQuery ? {} : { body: JSON.stringify(body) }),
  })
  return {
    status: response.status,
    cookie: cookieOf(response.headers),
    body: (await response.json()) as { result?: { data: { user: { name: string } } | null } },
  }
}

/** Signs in, changes the name and signs some out, noting what was acknowledged; what was under way at the kill may be either. */
async function write(writer: number, url: string, dispatcher: Agent, isRunning: () => boolean): Promise<void> {
  for (let n = 0; isRunning(); n += 1) {
    const address = `10.${writer}.${(acts >> 8) % 256}.${acts % 256}`
    try {
      const login = await call(url, dispatcher, 'auth.login', { username: `user${writer}`, password: PASSWORD }, '', address)
      if (login.status !== 200) continue
      live.add(login.cookie)
      acts += 1
      const name = `name ${writer} ${acts}`
      names.delete(`user${writer}`)
      if ((await call(url, dispatcher, 'auth.account.update', { name }, login.cookie)).status === 200) {
        names.set(`user${writer}`, name)
        acts += 1
      }
      if (n % 2 === 0) continue
      live.delete(login.cookie)
      if ((await call(url, dispatcher, 'auth.logout', {}, login.cookie)).status !== 200) continue
      ended.add(login.cookie)
      acts += 1
    } catch {
      // The server was killed: nothing was acknowledged.
    }
  }
}

async function check(url: string, dispatcher: Agent): Promise<void> {
  // Far from the fifty that one user may have.
  for (const cookie of [...live].slice(0, -60)) live.delete(cookie)
  for (const cookie of live) {
    const { status, body } = await call(url, dispatcher, 'auth.me', undefined, cookie)
    if (status !== 200 || body.result?.data == null) lost += 1
  }
  for (const cookie of ended) {
    const { body } = await call(url, dispatcher, 'auth.me', undefined, cookie)
    if (body.result?.data != null) undone += 1
  }
  // Each from an address of its own, so that no limit speaks in place of the store.
  for (const [username, name] of names) {
    checks += 1
    const cookie = (
      await call(url, dispatcher, 'auth.login', { username, password: PASSWORD }, '', `10.9.${(checks >> 8) % 256}.${checks % 256}`)
    ).cookie
    const { body } = await call(url, dispatcher, 'auth.me', undefined, cookie)
    if (body.result?.data?.user.name !== name) lost += 1
  }
}
