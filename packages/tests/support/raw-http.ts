import { connect, type TLSSocket } from 'node:tls'

/** A request as bytes, for what no HTTP client would send. */
export interface RawRequest {
  readonly method?: string
  readonly target: string
  readonly version?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer
  /** Without a stated length. */
  readonly chunked?: boolean
}

/** An answer as it came: head as one text, body with its framing. */
export interface RawAnswer {
  readonly head: string
  readonly body: string
}

const PATIENCE_MS = 1000
const END_OF_HEAD = Buffer.from('\r\n\r\n')
const END_OF_CHUNKS = Buffer.from('0\r\n\r\n')

export function writeRequest({ method = 'GET', target, version = '1.1', headers = {}, body, chunked = false }: RawRequest): Buffer {
  const bytes = Buffer.from(body ?? '')
  const framing = body === undefined ? {} : chunked ? { 'transfer-encoding': 'chunked' } : { 'content-length': String(bytes.length) }
  const lines = Object.entries({ host: 'localhost', ...framing, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  const head = Buffer.from(`${method} ${target} HTTP/${version}\r\n${lines.join('')}\r\n`, 'latin1')
  if (!chunked) return Buffer.concat([head, bytes])
  // An empty chunk would be the end itself, and what follows no request.
  if (bytes.length === 0) return Buffer.concat([head, END_OF_CHUNKS])
  return Buffer.concat([head, Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n'), END_OF_CHUNKS])
}

/** One caller over one kept connection at a time, which comes back when it was closed. */
export function createRawCaller(server: { port: number; ca: string }) {
  let socket: TLSSocket | undefined

  function open(): TLSSocket {
    const { port, ca } = server
    const opened = connect({ host: '127.0.0.1', port, ca })
    opened.setNoDelay()
    // Whoever waits for an answer hears of it by `close`.
    opened.on('error', () => {})
    return opened
  }

  function call(request: RawRequest, patienceMs = PATIENCE_MS): Promise<RawAnswer> {
    const current = (socket ??= open())
    const isBodyless = request.method === 'HEAD'
    // What follows a body of another length than stated is refused, after the answer.
    const lies = request.headers?.['content-length'] !== undefined
    return new Promise((resolve) => {
      let received = Buffer.alloc(0)
      // A server that waits for more of a body than comes would never answer.
      const timer = setTimeout(() => settle(false), patienceMs)
      const settle = (keep: boolean) => {
        clearTimeout(timer)
        current.off('data', onData).off('close', onClose)
        if (!keep && socket === current) {
          socket = undefined
          current.destroy()
        }
        const at = received.indexOf(END_OF_HEAD)
        const end = at === -1 ? received.length : at
        resolve({ head: received.toString('latin1', 0, end), body: received.toString('latin1', end) })
      }
      const onData = (chunk: Buffer) => {
        received = Buffer.concat([received, chunk])
        if (isWhole(received, isBodyless)) settle(!lies && !/\r\nconnection: close/i.test(received.toString('latin1', 0, 4096)))
      }
      const onClose = () => settle(false)
      current.on('data', onData).on('close', onClose)
      current.write(writeRequest(request))
    })
  }

  return { call, close: () => void socket?.destroy() }
}

function isWhole(received: Buffer, isBodyless: boolean): boolean {
  const end = received.indexOf(END_OF_HEAD)
  if (end === -1) return false
  const head = received.toString('latin1', 0, end).toLowerCase()
  if (isBodyless || /^http\/1\.1 (204|304)/.test(head)) return true
  const length = /\r\ncontent-length: (\d+)/.exec(head)?.[1]
  if (length !== undefined) return received.length >= end + END_OF_HEAD.length + Number(length)
  return head.includes('transfer-encoding: chunked') && received.subarray(-END_OF_CHUNKS.length).equals(END_OF_CHUNKS)
}
