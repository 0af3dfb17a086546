import { connect } from 'node:net'
import type pg from 'pg'

const CANCEL_CODE = 80_877_102
const WAIT_MS = 1000

/** What the driver knows of a connection, though its types do not say so. */
interface Known {
  readonly host: string
  readonly port: number
  readonly processID: number | null
  readonly secretKey: number | null
}

/**
 * Asks the server to end what a connection has under way (https://www.postgresql.org/docs/current/protocol-flow.html, "Canceling
 * Requests in Progress"), on a connection of its own and as the server's own tools do. Nobody waits for it: there is no answer.
 */
export function cancelOnServer(client: pg.ClientBase): void {
  const { host, port, processID, secretKey } = client as unknown as Known
  if (typeof processID !== 'number' || typeof secretKey !== 'number') return
  const request = Buffer.alloc(16)
  for (const [index, value] of [16, CANCEL_CODE, processID, secretKey].entries()) request.writeInt32BE(value | 0, index * 4)
  const socket = connect(host.startsWith('/') ? { path: `${host}/.s.PGSQL.${port}` } : { host, port })
  socket.on('error', () => {})
  socket.setTimeout(WAIT_MS, () => socket.destroy())
  socket.end(request)
  socket.resume().unref()
}
