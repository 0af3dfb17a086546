import { connect, createServer, type Socket } from 'node:net'

/** Stands between a server and its database, and can do what networks do. */
export async function createProxy(port: number) {
  const pairs = new Set<{ client: Socket; upstream: Socket }>()
  let swallowing = false
  let accepting = true

  const server = createServer((client) => {
    if (!accepting) return void client.resetAndDestroy()
    const upstream = connect(port, '127.0.0.1')
    const pair = { client, upstream }
    pairs.add(pair)
    const end = () => {
      pairs.delete(pair)
      client.destroy()
      upstream.destroy()
    }
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      // What is swallowed is lost: what comes after it would make no sense, as in a connection that is cut in the middle.
      from.on('data', (chunk) => swallowing || to.write(chunk))
      from.on('error', end).on('close', () => swallowing || end())
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))

  const reset = () => {
    for (const { client, upstream } of pairs) {
      client.resetAndDestroy()
      upstream.destroy()
    }
    pairs.clear()
  }
  return {
    port: (server.address() as { port: number }).port,
    /** Cuts every connection that is open. */
    reset,
    /** Cuts every connection, and every one that is begun. */
    refuse() {
      accepting = false
      reset()
    },
    /** Takes connections and bytes, and passes nothing on: neither data nor ends. */
    swallow() {
      swallowing = true
    },
    /** All is well again, for new connections; those that lost bytes are cut. */
    restore() {
      if (swallowing) reset()
      swallowing = false
      accepting = true
    },
    async close() {
      reset()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
