import { createPrivateKey, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, unwatchFile, watchFile, writeFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { join } from 'node:path'
import type { SecureContextOptions } from 'node:tls'
import { generate } from 'selfsigned'

const DAY_MS = 86_400_000
const RELOAD_EVERY_MS = 2000

/** A certificate chain and its key, PEM. */
export interface KeyPair {
  readonly cert: string
  readonly key: string
}

/** Where the server's certificate comes from. */
export type TlsOptions =
  /** PEM files, read again when they change. */
  | { readonly certFile: string; readonly keyFile: string }
  /** A certificate of a development authority, made here when missing. */
  | { readonly developmentDir: string }

export interface DevelopmentTls extends KeyPair {
  /** What clients must trust: `curl --cacert FILE`. */
  readonly caFile: string
}

/** TLS 1.2 and 1.3 with forward secrecy and AEAD alone (ASVS 12.1.1, 12.1.2). */
export const TLS_POLICY: SecureContextOptions = {
  minVersion: 'TLSv1.2',
  honorCipherOrder: true,
  ciphers: [
    'TLS_AES_256_GCM_SHA384',
    'TLS_CHACHA20_POLY1305_SHA256',
    'TLS_AES_128_GCM_SHA256',
    'ECDHE-ECDSA-AES256-GCM-SHA384',
    'ECDHE-RSA-AES256-GCM-SHA384',
    'ECDHE-ECDSA-CHACHA20-POLY1305',
    'ECDHE-RSA-CHACHA20-POLY1305',
    'ECDHE-ECDSA-AES128-GCM-SHA256',
    'ECDHE-RSA-AES128-GCM-SHA256',
  ].join(':'),
}

/**
 * Reads a certificate and its key.
 * @throws TypeError when a file is missing, expired, or the two do not belong together
 */
export function readKeyPair(certFile: string, keyFile: string, now: number): KeyPair {
  const pair = { cert: readPem(certFile), key: readPem(keyFile) }
  const problem = problemWith(pair, now)
  if (problem !== null) throw new TypeError(`${certFile}: ${problem}`)
  return pair
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new TypeError(`cannot read the PEM file ${file}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, { cause })
  }
}

function problemWith({ cert, key }: KeyPair, now: number): string | null {
  try {
    const certificate = new X509Certificate(cert)
    if (certificate.validToDate.getTime() <= now) return `the certificate expired on ${certificate.validTo}`
    return certificate.checkPrivateKey(createPrivateKey(key)) ? null : 'the key does not belong to the certificate'
  } catch (error) {
    return `not a PEM certificate with an unencrypted key (${(error as Error).message})`
  }
}

/** Calls back with the new pair whenever the files hold another good one; answers how to check now and how to stop. */
export function watchKeyPair(certFile: string, keyFile: string, onChange: (pair: KeyPair) => void, onError: (error: Error) => void) {
  let current = readFileSync(certFile, 'utf8') + readFileSync(keyFile, 'utf8')
  const reload = () => {
    try {
      const pair = readKeyPair(certFile, keyFile, Date.now())
      if (pair.cert + pair.key === current) return
      current = pair.cert + pair.key
      onChange(pair)
    } catch (error) {
      // The old certificate goes on: files are often replaced one after the other.
      onError(error as Error)
    }
  }
  // Polling, because mounted secrets are swapped by renaming a directory that fs.watch does not see.
  for (const file of [certFile, keyFile]) watchFile(file, { interval: RELOAD_EVERY_MS, persistent: false }, reload)
  const stop = () => {
    for (const file of [certFile, keyFile]) unwatchFile(file, reload)
  }
  return { reload, stop }
}

/** A certificate for local names, signed by an authority that is made once per directory. */
export async function developmentTls(dir: string, host: string, now: number): Promise<DevelopmentTls> {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
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
  return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
}

function isGood(pair: KeyPair, now: number, issued: { ca: string; host: string } | null): boolean {
  if (problemWith(pair, now + DAY_MS) !== null) return false
  if (issued === null) return true
  const certificate = new X509Certificate(pair.cert)
  const named = isIP(issued.host) === 0 ? certificate.checkHost(issued.host) : certificate.checkIP(issued.host)
  return named !== undefined && certificate.verify(new X509Certificate(issued.ca).publicKey)
}

async function makeAuthority(now: number): Promise<KeyPair> {
  const pems = await generate([{ name: 'commonName', value: 'trpc-login development CA' }], {
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

function replaceFile(file: string, text: string, mode: number): void {
  const temporary = `${file}.${process.pid}.tmp`
  writeFileSync(temporary, text, { mode })
  renameSync(temporary, file)
}
