import { X509Certificate } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { readKeyPair } from '../http/tls.ts'
import { callbackPath } from '../oauth.ts'
import type { Provider } from '../providers/provider.ts'
import { findDamage } from '../storage/sqlite/backup.ts'
import { type Config, loadConfig } from './config.ts'
import { nameOfDatabase } from './open.ts'
import { EXIT, print } from './output.ts'

const SOON_MS = 14 * 86_400_000
const CLOCK_SLACK_MS = 60_000

interface Finding {
  readonly check: string
  readonly ok: boolean
  readonly detail: string
  /** What to do about it. */
  readonly remedy?: string
}

/** Looks at everything a start depends on, changes nothing, and says what to do. */
export async function doctor(options: { json?: boolean }): Promise<void> {
  const config = loadConfig()
  const providers = await Promise.all(config.auth.providers.map((provider) => checkProvider(provider, config)))
  const findings = [
    checkNode(),
    checkDirectory(config),
    await checkDatabase(config),
    checkCertificate(config),
    checkReach(config),
    ...providers,
  ]
  print(findings, options, () =>
    findings.map(
      ({ check, ok, detail, remedy }) => `${ok ? 'ok  ' : 'FAIL'} ${check}: ${detail}${remedy === undefined ? '' : `\n       ${remedy}`}`,
    ),
  )
  if (findings.some(({ ok }) => !ok)) process.exitCode = EXIT.failure
}

function checkNode(): Finding {
  return { check: 'runtime', ok: true, detail: `Node ${process.versions.node}, SQLite ${process.versions.sqlite ?? 'none'}` }
}

function checkDirectory({ dataDir }: Config): Finding {
  const check = 'data directory'
  if (!existsSync(dataDir)) return { check, ok: true, detail: `${dataDir} will be made at the first start` }
  const mode = statSync(dataDir).mode & 0o777
  if ((mode & 0o077) === 0) return { check, ok: true, detail: `${dataDir}, mode ${mode.toString(8)}` }
  return { check, ok: false, detail: `${dataDir} has mode ${mode.toString(8)}: other users can enter it`, remedy: `chmod 700 ${dataDir}` }
}

async function checkDatabase(config: Config): Promise<Finding> {
  const check = 'database'
  const { database, openStorage } = config
  const name = nameOfDatabase(config)
  if (database.kind === 'sqlite' && !existsSync(name)) return { check, ok: true, detail: `${name} will be made at the first start` }
  try {
    const storage = openStorage({ migrate: false })
    try {
      const { pending, newer } = await storage.schema()
      if (pending.length > 0) return { check, ok: false, detail: `the schema lacks ${pending.join(', ')}`, remedy: 'trpc-login migrate' }
      if (newer.length > 0 && database.kind === 'sqlite')
        return {
          check,
          ok: false,
          detail: `the schema has version ${newer.at(-1)}, which this program does not know`,
          remedy: 'upgrade trpc-login',
        }
      const damage = database.kind === 'sqlite' ? findDamage(database.file) : null
      if (damage !== null) return { check, ok: false, detail: `${name} is damaged: ${damage}`, remedy: 'restore a backup' }
      await storage.check()
      const [latest] = await storage.audit.list({ userId: null, type: null, limit: 1, before: null })
      if (latest !== undefined && latest.at > Date.now() + CLOCK_SLACK_MS) {
        return {
          check,
          ok: false,
          detail: `its latest entry is of ${new Date(latest.at).toISOString()}, which is to come: the clock was set back`,
          remedy: 'set the clock; sessions and limits count by it',
        }
      }
      const schema = newer.length === 0 ? 'schema up to date' : `schema of a newer version, which knows ${newer.join(', ')} too`
      return { check, ok: true, detail: `${name} can be written, ${schema}` }
    } finally {
      await storage.close()
    }
  } catch (error) {
    const { message, cause } = error as Error
    return {
      check,
      ok: false,
      detail: `${name}: ${cause instanceof Error ? cause.message : message}`,
      remedy: database.kind === 'sqlite' ? 'check the path, its owner and its mode' : 'check that it runs, and TRPC_LOGIN_DATABASE_URL',
    }
  }
}

function checkCertificate({ server, dataDir }: Config): Finding {
  const check = 'certificate'
  const development = 'developmentDir' in server.tls
  const certFile = 'certFile' in server.tls ? server.tls.certFile : join(dataDir, 'dev-cert.pem')
  const keyFile = 'keyFile' in server.tls ? server.tls.keyFile : join(dataDir, 'dev-key.pem')
  if (development && !existsSync(certFile)) return { check, ok: true, detail: 'a development certificate will be made at the first start' }
  try {
    readKeyPair(certFile, keyFile, Date.now())
    const until = new X509Certificate(readFileSync(certFile)).validToDate
    if (!development && until.getTime() - Date.now() < SOON_MS)
      return {
        check,
        ok: false,
        detail: `expires ${until.toISOString()}`,
        remedy: 'renew it; a running server takes the new files by itself',
      }
    return { check, ok: true, detail: `${development ? 'development, ' : ''}valid until ${until.toISOString()}` }
  } catch (error) {
    return {
      check,
      ok: false,
      detail: (error as Error).message,
      remedy: 'set TRPC_LOGIN_TLS_CERT and TRPC_LOGIN_TLS_KEY to a matching pair of PEM files',
    }
  }
}

function checkReach({ server }: Config): Finding {
  const check = 'address'
  const loopback = /^(127\.|::1$|localhost$)/.test(server.host)
  if (!loopback && 'developmentDir' in server.tls) {
    return {
      check,
      ok: false,
      detail: `${server.host} is reachable from outside with a development certificate`,
      remedy: 'set TRPC_LOGIN_TLS_CERT and TRPC_LOGIN_TLS_KEY',
    }
  }
  return { check, ok: true, detail: `${server.host}:${server.port}${server.baseUrl === undefined ? '' : `, public as ${server.baseUrl}`}` }
}

/** Whether a provider answers, and the redirect URI that it must know. */
async function checkProvider(provider: Provider, { server }: Config): Promise<Finding> {
  const check = `sign-in with ${provider.name}`
  const origin = server.baseUrl ?? `https://${server.host}:${server.port}`
  const redirectUri = `${origin}${callbackPath(provider.id)}`
  try {
    await provider.authorizationUrl({ redirectUri, state: 'doctor', nonce: 'doctor', codeVerifier: 'doctor', reauthenticate: false })
    return { check, ok: true, detail: `redirect URI ${redirectUri}` }
  } catch (error) {
    const { message, cause } = error as Error
    const detail = cause instanceof Error ? `${message}: ${cause.message}` : message
    return { check, ok: false, detail, remedy: 'check TRPC_LOGIN_PROVIDERS, and that this machine reaches the provider' }
  }
}
