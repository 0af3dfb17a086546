// Starts the measured servers, each a process of its own, and asks the kernel what they used.
import { execFileSync, spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { PASSWORD } from './servers/announce.mjs'

const here = import.meta.dirname
const TICKS = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))
const PAGE = Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' }))

/** Runs a server until it says where it is. `core` pins it, so that the caller has the other one. */
export async function startNode(name, file, tls, { env = {}, core = '0', args = [] } = {}) {
  const command = [...pinned(core), process.execPath, ...args, join(here, 'servers', file)]
  return start(name, command, tls, env)
}

/** One process on the core that the others have, or two on both, as one would on such a machine. */
export async function startFlask(tls, dir, processes) {
  const port = await freePort()
  // Loaded once, before the workers part, so that they do not make the database both at once.
  const command = [...pinned(processes === 1 ? '0' : null), '/usr/bin/gunicorn', '--preload', '--workers', String(processes)]
  command.push('--worker-class', 'gthread', '--threads', '16', '--keep-alive', '60')
  command.push('--bind', `127.0.0.1:${port}`, '--certfile', tls.cert, '--keyfile', tls.key, '--log-level', 'error')
  command.push('--chdir', join(here, 'servers'), 'flask_login_app:app')
  const child = spawn(command[0], command.slice(1), { env: { ...process.env, DIR: dir }, stdio: ['ignore', 'ignore', 'inherit'] })
  await untilListening(port).catch((error) => {
    child.kill()
    throw error
  })
  const title = processes === 1 ? 'flask-login' : `flask-login x${processes}`
  return describe(title, child, port, { [title]: { target: '/mine', login: '/login' } }, tls, processes)
}

async function start(name, command, tls, env) {
  const child = spawn(command[0], command.slice(1), {
    env: { ...process.env, NODE_ENV: 'production', CERT: tls.cert, KEY: tls.key, ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const line = await new Promise((resolve, reject) => {
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (chunk) => {
      text += chunk
      if (text.includes('\n')) resolve(text.split('\n', 1)[0])
    })
    child.once('exit', (code) => reject(new Error(`${name} ended with ${code} before it was ready`)))
  })
  const { port, targets } = JSON.parse(line)
  return describe(name, child, port, targets, tls, 1)
}

/** A server whose requests are ready to be sent, signed in where they need it. */
async function describe(name, child, port, targets, tls, processes) {
  const requests = {}
  for (const [title, { target, cookie, login }] of Object.entries(targets)) {
    const signedIn = login === undefined ? cookie : await logIn(port, login, tls.ca)
    requests[title] = requestOf(target, signedIn)
  }
  return {
    name,
    port,
    processes,
    requests,
    cpu: () => sumOver(child.pid, cpuOf),
    memory: () => sumOver(child.pid, memoryOf),
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', resolve)
        child.kill('SIGTERM')
      }),
  }
}

export function requestOf(target, cookie) {
  const lines = [`GET ${target} HTTP/1.1`, ...COMMON]
  return [...lines, ...(cookie === undefined ? [] : [`cookie: ${cookie}`]), '', ''].join('\r\n')
}

/** Of a user for each caller: what one user may try at a time is limited. */
export function loginRequest() {
  const body = loginBody('CALLER')
  return ['POST /api/auth.login HTTP/1.1', ...COMMON, 'content-type: application/json', `content-length: ${body.length}`, '', body].join(
    '\r\n',
  )
}

const COMMON = ['host: 127.0.0.1', 'accept: */*', 'accept-encoding: gzip, deflate', 'user-agent: bench']
const loginBody = (username) => JSON.stringify({ username, password: PASSWORD })

/** Signs in as a caller would, and gives back the cookies. */
function logIn(port, path, ca) {
  const body = loginBody('user01')
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': body.length }
    const options = { host: '127.0.0.1', port, path, ca, method: 'POST', headers, agent: false, timeout: 5000 }
    const sent = request(options, (res) => {
      res.resume()
      const cookies = (res.headers['set-cookie'] ?? []).map((line) => line.split(';', 1)[0])
      if (res.statusCode === 200 && cookies.length > 0) resolve(cookies.join('; '))
      else reject(new Error(`${path} answered ${res.statusCode}`))
    })
    sent.on('timeout', () => sent.destroy(new Error(`${path} did not answer`)))
    sent.on('error', reject).end(body)
  })
}

/** Keeps a process on one core, where that can be asked for. */
export function pinned(core) {
  return core === null || !existsSync('/usr/bin/taskset') ? [] : ['/usr/bin/taskset', '-c', core]
}

function sumOver(pid, measure) {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
  return measure(pid) + children.reduce((sum, child) => sum + sumOver(Number(child), measure), 0)
}

/** Seconds of processor, user and system. */
function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

/** Resident MiB. */
function memoryOf(pid) {
  return (Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * PAGE) / 2 ** 20
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

async function untilListening(port) {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const isUp = await new Promise((resolve) => {
      const options = { host: '127.0.0.1', port, path: '/', rejectUnauthorized: false, agent: false, timeout: 1000 }
      const asked = request(options, (res) => resolve(res.resume().statusCode !== undefined))
      asked.on('timeout', () => asked.destroy(new Error('no answer'))).on('error', () => resolve(false))
      asked.end()
    })
    if (isUp) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('gunicorn did not start')
}
