import type { RunningServer } from './server.ts'

/** What a running server can be told. */
export interface Orders {
  /** Drains it; the second time the process exits at once. */
  stop(): void
  /** Reads the certificate again. */
  reload(): void
}

/**
 * Says where the server listens, then keeps it running: SIGTERM and SIGINT drain it, a second one exits at once, SIGHUP reads
 * the certificate again.
 */
export async function runUntilStopped(server: RunningServer): Promise<void> {
  process.stdout.write(`listening on ${server.url}\n`)
  await runWhileTold(server, ({ stop, reload }) => process.on('SIGHUP', reload).on('SIGTERM', stop).on('SIGINT', stop))
}

/** Keeps a server running until `listen`, which decides who gives orders, has it stopped; then ends the process. */
export async function runWhileTold(server: RunningServer, listen: (orders: Orders) => unknown): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    let stopping = false
    const stop = () => {
      if (stopping) process.exit(1)
      stopping = true
      server.close().then(resolve, reject)
    }
    listen({ stop, reload: () => server.reloadTls() })
  })
  // Whatever else is still open, such as a timer of the application's, must not hold the process.
  process.exit(0)
}
