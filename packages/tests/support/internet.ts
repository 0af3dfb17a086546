import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { RequestListener } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, buildConnector, getGlobalDispatcher, setGlobalDispatcher } from 'undici'
import { developmentTls } from '../../server/src/http/development-tls.ts'

/**
 * One HTTPS server on loopback that stands for the hosts of the large providers, none of which can be asked here: every connection
 * of this process leads to it, with TLS and the name that was asked for.
 */
export async function startInternet(answer: RequestListener) {
  const dir = mkdtempSync(join(tmpdir(), 'trpc-login-internet-'))
  const { cert, key, caFile } = await developmentTls(dir, '127.0.0.1', Date.now())
  const server = createServer({ cert, key }, answer)
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  // The name in the certificate is that of this machine, so it is what TLS is asked to check.
  const connect = buildConnector({ ca: readFileSync(caFile, 'utf8'), servername: 'localhost' })
  const before = getGlobalDispatcher()
  const agent = new Agent({ connect: (options, callback) => connect({ ...options, hostname: '127.0.0.1', port: String(port) }, callback) })
  setGlobalDispatcher(agent)
  return {
    async [Symbol.asyncDispose]() {
      setGlobalDispatcher(before)
      await agent.destroy()
      await new Promise((resolve) => server.close(resolve))
      rmSync(dir, { recursive: true, force: true })
    },
  }
}
