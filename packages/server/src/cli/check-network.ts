import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { get } from 'node:https'
import { createServer, isIP } from 'node:net'
import { join } from 'node:path'
import { isLoopback } from '../address.ts'
import { listen } from '../http/sockets.ts'
import { readKeyPair } from '../http/tls.ts'
import type { Config } from './config.ts'
import { bad, type Finding, good } from './findings.ts'
import { splitRefusal } from './problems.ts'

const SOON_MS = 14 * 86_400_000
const ANSWER_MS = 2000

/** Whether the certificate and its key can be used, now and in the days to come. */
export function checkCertificate({ server, dataDir }: Config): Finding {
  const check = 'certificate'
  const development = 'developmentDir' in server.tls
  const certFile = 'certFile' in server.tls ? server.tls.certFile : join(dataDir, 'dev-cert.pem')
  const keyFile = 'keyFile' in server.tls ? server.tls.keyFile : join(dataDir, 'dev-key.pem')
  if (development && !existsSync(certFile)) return good(check, 'a development certificate will be made at the first start')
  try {
    readKeyPair(certFile, keyFile, Date.now())
  } catch (error) {
    const { detail, remedy } = splitRefusal(error)
    return bad(check, detail, remedy)
  }
  const until = new X509Certificate(readFileSync(certFile)).validToDate
  if (development) return good(check, `development, valid until ${until.toISOString()}, then renewed at a start`)
  if (until.getTime() - Date.now() > SOON_MS) return good(check, `valid until ${until.toISOString()}`)
  return bad(check, `expires ${until.toISOString()}`, 'renew it; a running server takes the new files by itself')
}

/** Whether the server can listen where it is to, and whom that lets in. */
export async function checkAddress({ server: { host, port, tls, baseUrl } }: Config): Promise<Finding> {
  const check = 'address'
  if ('developmentDir' in tls && !isLoopback(host)) {
    const detail = `${host} is reachable from outside with a development certificate`
    return bad(check, detail, 'set TRPC_LOGIN_TLS_CERT and TRPC_LOGIN_TLS_KEY, or listen on 127.0.0.1')
  }
  const detail = `${host}:${port}${baseUrl === undefined ? '' : `, public as ${baseUrl}`}`
  const probe = createServer()
  try {
    await listen(probe, host, port)
    return good(check, detail)
  } catch (error) {
    const { message, cause } = error as Error
    const isTaken = (cause as NodeJS.ErrnoException | undefined)?.code === 'EADDRINUSE'
    if (isTaken && (await isOurs(host, port))) return good(check, `${detail}, where a server of ours runs`)
    return bad(check, message, 'end what listens there, or set TRPC_LOGIN_HOST and TRPC_LOGIN_PORT to an address of this machine')
  } finally {
    probe.close()
  }
}

/** Whether what listens there answers as a server of ours does. Nothing is told to it, so its certificate does not matter. */
function isOurs(host: string, port: number): Promise<boolean> {
  const target = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return new Promise((resolve) => {
    const options = { host: target, port, path: '/healthz', rejectUnauthorized: false, timeout: ANSWER_MS, agent: false }
    const request = get({ ...options, ...(isIP(target) === 0 ? { servername: target } : {}) }, (response) => {
      response.resume()
      resolve(response.statusCode === 200 && response.headers['x-request-id'] !== undefined)
    })
    request.on('timeout', () => request.destroy(new Error('no answer')))
    request.on('error', () => resolve(false))
  })
}
