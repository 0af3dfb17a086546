// The load generator, a process of its own: keeps some connections busy with one request and answers what it saw.
import { connect } from 'node:tls'
import { tokenOf } from './seed.mjs'

const END = Buffer.from('\r\n\r\n')
const LAST_CHUNK = Buffer.from('0\r\n\r\n')
const HEAD_200 = Buffer.from('HTTP/1.1 200')

const JOBS = { calls: measure, connections: measureConnections }

process.on('message', (job) => {
  JOBS[job.kind ?? 'calls'](job).then(
    (seen) => process.send(seen),
    (error) => process.send({ error: String(error) }),
  )
})
process.on('disconnect', () => process.exit(0))

/** Sends the same request over and over for some seconds, or each of many sessions once; latencies in microseconds. */
async function measure({ port, ca, request, connections, seconds = Number.POSITIVE_INFINITY, pauseMs = 0, sessions = null }) {
  let next = 0
  const requests = Array.from({ length: connections }, (_, caller) =>
    Buffer.from(request.replace('CALLER', String(caller).padStart(6, '0'))),
  )
  const bytesOf = (caller) => (sessions === null ? requests[caller] : Buffer.from(request.replace('TOKEN', tokenOf(next++ % sessions))))
  const isDone = (now) => now >= job.until || (sessions !== null && next >= sessions)
  const job = { port, ca, bytesOf, isDone, pauseMs, until: 0, latencies: [], failures: [] }
  const callers = await Promise.all(Array.from({ length: connections }, () => open(port, ca)))
  const from = performance.now()
  job.until = from + seconds * 1000
  await Promise.all(callers.map((socket, caller) => keepCalling(job, socket, caller)))
  const elapsed = (performance.now() - from) / 1000
  const sorted = Float64Array.from(job.latencies).toSorted()
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]
  return { count: sorted.length, perSecond: sorted.length / elapsed, p50: at(0.5), p99: at(0.99), failures: job.failures.slice(0, 3) }
}

/** New connections with one call each, from several callers at once, with the session of the one before or without. */
async function measureConnections({ port, ca, request, callers, seconds, resume }) {
  const until = performance.now() + seconds * 1000
  const from = performance.now()
  let count = 0
  let resumed = 0
  await Promise.all(
    Array.from({ length: callers }, async () => {
      let session
      while (performance.now() < until) {
        const seen = await callOnce({ port, ca, request, session: resume ? session : undefined })
        session = seen.session
        count += 1
        if (seen.isResumed) resumed += 1
      }
    }),
  )
  return { perSecond: (count / (performance.now() - from)) * 1000, resumed: resumed / count }
}

function callOnce({ port, ca, request, session }) {
  return new Promise((resolve, reject) => {
    const seen = { session, isResumed: false }
    const socket = connect({ host: '127.0.0.1', port, ca, session }, () => {
      seen.isResumed = socket.isSessionReused()
      socket.write(request)
    })
    socket.on('session', (fresh) => (seen.session = fresh))
    socket.on('data', () => socket.destroy())
    socket.on('close', () => resolve(seen)).on('error', reject)
  })
}

function open(port, ca) {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca }, () => resolve(socket))
    socket.setNoDelay(true)
    socket.once('error', reject)
  })
}

/** One call after the other; a server may end a connection after some, and is called over another then. */
async function keepCalling(job, first, caller) {
  for (let socket = first; socket !== null; ) socket = (await callUntilClosed(job, socket, caller)) ? await open(job.port, job.ca) : null
}

/** Answers whether there is time for more. */
function callUntilClosed(job, socket, caller) {
  return new Promise((resolve, reject) => {
    let received = null
    let sentAt = 0
    const send = () => {
      sentAt = performance.now()
      socket.write(job.bytesOf(caller))
    }
    const finish = (more) => {
      socket.destroy()
      resolve(more)
    }
    socket.on('error', reject)
    socket.on('data', (chunk) => {
      received = received === null ? chunk : Buffer.concat([received, chunk])
      const end = received.indexOf(END)
      if (end === -1 || !isWhole(received, end)) return
      const now = performance.now()
      job.latencies.push((now - sentAt) * 1000)
      if (!received.subarray(0, HEAD_200.length).equals(HEAD_200)) job.failures.push(received.toString('latin1', 0, 300))
      const closes = isClosing(received, end)
      received = null
      if (job.isDone(now)) return finish(false)
      if (closes) return finish(true)
      if (job.pauseMs > 0) setTimeout(send, job.pauseMs)
      else send()
    })
    send()
  })
}

function isWhole(received, end) {
  const head = received.latin1Slice(0, end)
  const at = head.search(/content-length: /i)
  if (at !== -1) return received.length >= end + 4 + Number.parseInt(head.slice(at + 16), 10)
  return received.subarray(-LAST_CHUNK.length).equals(LAST_CHUNK)
}

function isClosing(received, end) {
  return /\r\nconnection: close/i.test(received.latin1Slice(0, end))
}
