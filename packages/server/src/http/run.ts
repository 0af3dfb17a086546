import { AuthError } from '../errors.ts'
import type { RunningServer } from './server.ts'
import { ListenError } from './sockets.ts'

const SAME_SIGNAL_MS = 200

/** What a running server can be told. */
export interface Orders {
  /** Drains it; the second time the process exits at once. */
  stop(): void
  /** Reads the certificate again. */
  reload(): void
}

/**
 * Says where the server listens, calls `started`, then keeps it running: SIGTERM and SIGINT drain it, a second one exits at once, SIGHUP
 * reads the certificate again. Where it cannot start, as on a port that is taken, it says why in one line and exits with 1.
 */
export async function runUntilStopped(
  server: RunningServer | Promise<RunningServer>,
  started: (server: RunningServer) => void = () => {},
): Promise<void> {
  const running = await Promise.resolve(server).catch(exitWithReason)
  writeAnnouncement(running.url)
  started(running)
  await runWhileTold(running, ({ stop, reload }) => process.on('SIGHUP', reload).on('SIGTERM', stop).on('SIGINT', stop))
}

/** The first line of standard output. Whoever reads no further, as `head -1`, does not end the server. */
export function writeAnnouncement(url: string): void {
  process.stdout.on('error', () => {})
  process.stdout.write(`listening on ${url}\n`)
}

function exitWithReason(error: unknown): never {
  // Anything else is a fault of the program, and its stack is what finds it.
  if (!(error instanceof TypeError || error instanceof AuthError || error instanceof ListenError)) throw error
  // That the database is unavailable is for callers; whoever starts it is told why.
  const told = error instanceof AuthError && error.cause instanceof Error ? error.cause : error
  process.stderr.write(`${told.message}\n`)
  process.exit(1)
}

/**
 * What a signal to stop does: `act` the first time, and the next time the end of the process. Signals that come within a fifth of a second are one:
 * a service manager tells all processes at once, and a parent hands on what it was told.
 */
export function stopOnceThenExit(act: () => unknown): () => void {
  let since: number | undefined
  return () => {
    if (since === undefined) {
      since = performance.now()
      act()
    } else if (performance.now() - since > SAME_SIGNAL_MS) process.exit(1)
  }
}

/** Keeps a server running until `listen`, which decides who gives orders, has it stopped; then ends the process. */
export async function runWhileTold(server: RunningServer, listen: (orders: Orders) => unknown): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const stop = stopOnceThenExit(() => void server.close().then(resolve, reject))
    listen({ stop, reload: () => server.reloadTls() })
  })
  // Whatever else is still open, such as a timer of the application's, must not hold the process.
  process.exit(0)
}
