import { randomBytes, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { generate } from 'selfsigned'
import { isLoopback } from '../address.ts'
import { problemWithDirectory, readSecretFile } from '../private-files.ts'
import { type KeyPair, problemWith } from './tls.ts'

const DAY_MS = 86_400_000
const STALE_LOCK_MS = 5000

export interface DevelopmentTls extends KeyPair {
  /** What clients must trust: `curl --cacert FILE`. */
  readonly caFile: string
}

/**
 * A certificate for local names, signed by an authority that is made once per directory.
 * @throws TypeError for a host that others reach, and for a directory or a key that is open to others
 */
export async function developmentTls(dir: string, host: string, now: number): Promise<DevelopmentTls> {
  if (!isLoopback(host)) throw new TypeError(notForOthers(host))
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const problem = problemWithDirectory(dir)
  if (problem !== null) throw new TypeError(problem)
  const unlock = await lock(join(dir, 'dev-tls.lock'))
  try {
    return await makeWhatIsMissing(dir, host, now)
  } finally {
    unlock()
  }
}

export function notForOthers(host: string): string {
  return `a development certificate is for loopback addresses, and ${host} is none; give a certificate and its key, or listen on 127.0.0.1`
}

/** Servers that start together must agree on one authority; a lock that nobody released was left by a crash. */
async function lock(path: string): Promise<() => void> {
  for (;;) {
    try {
      writeFileSync(path, '', { flag: 'wx', mode: 0o600 })
      return () => rmSync(path, { force: true })
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'EEXIST') throw new TypeError(`${dirname(path)} cannot be written: ${code}`, { cause: error })
      const since = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
      if (Date.now() - since > STALE_LOCK_MS) rmSync(path, { force: true })
      else await setTimeout(20)
    }
  }
}

async function makeWhatIsMissing(dir: string, host: string, now: number): Promise<DevelopmentTls> {
  const files = {
    ca: join(dir, 'dev-ca.pem'),
    caKey: join(dir, 'dev-ca-key.pem'),
    cert: join(dir, 'dev-cert.pem'),
    key: join(dir, 'dev-key.pem'),
  }
  const caIsGood = existsSync(files.ca) && existsSync(files.caKey) && isGood(pairOf(files.ca, files.caKey), now, null)
  if (!caIsGood) {
    const ca = await makeAuthority(now)
    replaceFile(files.caKey, ca.key, 0o600)
    replaceFile(files.ca, ca.cert, 0o644)
  }
  const ca = pairOf(files.ca, files.caKey)
  const certIsGood = existsSync(files.cert) && existsSync(files.key) && isGood(pairOf(files.cert, files.key), now, { ca: ca.cert, host })
  if (!certIsGood) {
    const leaf = await makeCertificate(ca, host, now)
    replaceFile(files.key, leaf.key, 0o600)
    replaceFile(files.cert, leaf.cert, 0o600)
  }
  return { ...pairOf(files.cert, files.key), caFile: files.ca }
}

function pairOf(cert: string, key: string): KeyPair {
  return { cert: readFileSync(cert, 'utf8'), key: readSecretFile(key) }
}

function isGood(pair: KeyPair, now: number, issued: { ca: string; host: string } | null): boolean {
  if (problemWith(pair, now + DAY_MS) !== null) return false
  if (issued === null) return true
  const certificate = new X509Certificate(pair.cert)
  const named = isIP(issued.host) === 0 ? certificate.checkHost(issued.host) : certificate.checkIP(issued.host)
  return named !== undefined && certificate.verify(new X509Certificate(issued.ca).publicKey)
}

async function makeAuthority(now: number): Promise<KeyPair> {
  // Of two authorities of one name a client that trusts both would find the wrong one.
  const name = `trpc-login development CA ${randomBytes(4).toString('hex')}`
  const pems = await generate([{ name: 'commonName', value: name }], {
    ...validity(now, 3650),
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  })
  return { cert: pems.cert, key: pems.private }
}

async function makeCertificate(ca: KeyPair, host: string, now: number): Promise<KeyPair> {
  const names = new Set(['localhost', '127.0.0.1', '::1', host])
  const pems = await generate([{ name: 'commonName', value: 'localhost' }], {
    // Browsers refuse longer ones.
    ...validity(now, 397),
    ca,
    extensions: [
      { name: 'basicConstraints', cA: false, critical: true },
      { name: 'keyUsage', digitalSignature: true, critical: true },
      { name: 'extKeyUsage', serverAuth: true },
      { name: 'subjectAltName', altNames: [...names].map((name) => (isIP(name) === 0 ? { type: 2, value: name } : { type: 7, ip: name })) },
    ],
  })
  return { cert: pems.cert, key: pems.private }
}

function validity(now: number, days: number) {
  return {
    keyType: 'ec',
    curve: 'P-256',
    algorithm: 'sha256',
    // An hour back, for clients whose clocks are behind.
    notBeforeDate: new Date(now - 3_600_000),
    notAfterDate: new Date(now + days * DAY_MS),
  } as const
}

/** Under a name that nobody can have put a link in the place of. */
function replaceFile(file: string, text: string, mode: number): void {
  const temporary = `${file}.${randomBytes(8).toString('hex')}.tmp`
  try {
    writeFileSync(temporary, text, { mode, flag: 'wx' })
    renameSync(temporary, file)
  } catch (error) {
    rmSync(temporary, { force: true })
    throw error
  }
}
