import type { RunningServer } from './server.ts'

/**
 * Says where the server listens, then keeps it running: SIGTERM and SIGINT drain it, a second one exits at once, SIGHUP reads
 * the certificate again.
 */
export async function runUntilStopped(server: RunningServer): Promise<void> {
  process.stdout.write(`listening on ${server.url}\n`)
  process.on('SIGHUP', () => server.reloadTls())
  await new Promise<void>((resolve, reject) => {
    let stopping = false
    const stop = () => {
      if (stopping) process.exit(1)
      stopping = true
      server.close().then(resolve, reject)
    }
    process.on('SIGTERM', stop).on('SIGINT', stop)
  })
  // Whatever else is still open, such as a timer of the application's, must not hold the process.
  process.exit(0)
}
