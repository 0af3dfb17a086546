import { existsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { callbackPath } from '../oauth.ts'
import { problemWithPrivateDirectory } from '../private-files.ts'
import type { Provider } from '../providers/provider.ts'
import { checkDatabase } from './check-database.ts'
import { checkAddress, checkCertificate } from './check-network.ts'
import { type Config, loadConfig } from './config.ts'
import { bad, type Finding, good } from './findings.ts'
import { EXIT, print } from './output.ts'
import { splitRefusal } from './problems.ts'

/** Says of everything that a start and a sign-in depend on how it is, and what to do. */
export async function doctor(options: { json?: boolean }): Promise<void> {
  const findings = await examine(loadConfig())
  print(findings, options, () =>
    findings.flatMap(({ check, ok, detail, remedy }) => [
      `${ok ? 'ok  ' : 'FAIL'} ${check}: ${detail}`,
      ...(remedy === undefined ? [] : [`       ${remedy}`]),
    ]),
  )
  if (findings.some(({ ok }) => !ok)) process.exitCode = EXIT.failure
}

/** Looks at all of it, and changes nothing. */
export async function examine(config: Config): Promise<Finding[]> {
  const providers = await Promise.all(config.auth.providers.map((provider) => checkProvider(provider, config)))
  return [
    checkNode(),
    ...(usesDataDir(config) ? [checkDirectory(config)] : []),
    await checkDatabase(config),
    checkCertificate(config),
    await checkAddress(config),
    ...providers,
  ]
}

function checkNode(): Finding {
  return good('runtime', `Node ${process.versions.node}, SQLite ${process.versions.sqlite ?? 'none'}`)
}

/** With the database and a certificate elsewhere there is nothing in it. */
function usesDataDir({ database, dataDir, server }: Config): boolean {
  return 'developmentDir' in server.tls || (database.kind === 'sqlite' && dirname(database.file) === dataDir)
}

function checkDirectory({ dataDir }: Config): Finding {
  const check = 'data directory'
  if (!existsSync(dataDir)) return good(check, `${dataDir} will be made at the first start`)
  const stats = statSync(dataDir)
  const problem = problemWithPrivateDirectory(dataDir, stats)
  if (problem === null) return good(check, `${dataDir}, mode ${(stats.mode & 0o7777).toString(8)}`)
  const { detail, remedy } = splitRefusal(problem)
  return bad(check, detail, remedy)
}

/** Whether a provider answers, and the redirect URI that it must know. */
async function checkProvider(provider: Provider, { server }: Config): Promise<Finding> {
  const check = `sign-in with ${provider.name}`
  const origin = server.baseUrl ?? `https://${server.host}:${server.port}`
  const redirectUri = `${origin}${callbackPath(provider.id)}`
  try {
    await provider.authorizationUrl({ redirectUri, state: 'doctor', nonce: 'doctor', codeVerifier: 'doctor', reauthenticate: false })
    return good(check, `redirect URI ${redirectUri}`)
  } catch (error) {
    const { message, cause } = error as Error
    const detail = cause instanceof Error ? `${message}: ${cause.message}` : message
    return bad(check, detail, 'check TRPC_LOGIN_PROVIDERS, and that this machine reaches the provider')
  }
}
