// What all measured servers share: one certificate, any free port, one line on standard output that says where they are.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'

export const GREETING = 'hello, user01'
export const USER = { id: '1', username: 'user01' }
export const PASSWORD = 'demo-passphrase-01'

/** Serves a listener; `targets` names the requests that are measured. */
export function serve(listener, targets) {
  const server = createServer({ cert: readFileSync(process.env.CERT), key: readFileSync(process.env.KEY) }, listener)
  server.keepAliveTimeout = 60_000
  server.listen(0, '127.0.0.1', () => announce(server.address().port, targets))
}

export function announce(port, targets) {
  process.stdout.write(`${JSON.stringify({ port, targets })}\n`)
  process.on('SIGTERM', () => process.exit(0))
}
