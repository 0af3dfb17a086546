import { constants, createPrivateKey, X509Certificate } from 'node:crypto'
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import type { SecureContextOptions } from 'node:tls'
import { readSecretFile } from '../private-files.ts'

const RELOAD_EVERY_MS = 2000
const RETRY_EVERY_MS = 60_000

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

/** TLS 1.2 and 1.3 with forward secrecy and AEAD alone (ASVS 12.1.1, 12.1.2). */
export const TLS_POLICY: SecureContextOptions = {
  ecdhCurve: 'X25519:P-256:P-384',
  minVersion: 'TLSv1.2',
  honorCipherOrder: true,
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_NO_COMPRESSION,
  // Otherwise it comes from how the process was called, and with it whether another process resumes a session.
  sessionIdContext: 'trpc-login',
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
 * @throws TypeError when a file is missing, others can read the key, the certificate is not valid now, or the two do not belong together
 */
export function readKeyPair(certFile: string, keyFile: string, now: number): KeyPair {
  const pair = { cert: readPem(certFile), key: readSecretFile(keyFile) }
  const problem = problemWith(pair, now)
  if (problem !== null) throw new TypeError(`${certFile}: ${problem}`)
  return pair
}

function readPem(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new TypeError(`${file} cannot be read: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}; check path, owner and mode`, {
      cause,
    })
  }
}

/** What makes a pair unfit for use, or `null`. */
export function problemWith({ cert, key }: KeyPair, now: number): string | null {
  try {
    const certificate = new X509Certificate(cert)
    if (certificate.validFromDate.getTime() > now)
      return `the certificate begins on ${certificate.validFrom}, and that is to come; set the clock, or use another until then`
    if (certificate.validToDate.getTime() <= now) return `the certificate expired on ${certificate.validTo}; renew it`
    return certificate.checkPrivateKey(createPrivateKey(key))
      ? null
      : 'the key does not belong to the certificate; give the two that were made for each other'
  } catch (error) {
    return `not a PEM certificate with an unencrypted key (${(error as Error).message}); give PEM files, the key without a passphrase`
  }
}

/** Calls back with the new pair whenever the files hold another good one; returns how to check now and how to stop. */
export function watchKeyPair(certFile: string, keyFile: string, onChange: (pair: KeyPair) => void, onError: (error: Error) => void) {
  let current = readFileSync(certFile, 'utf8') + readFileSync(keyFile, 'utf8')
  let problem: string | null = null

  function reload(): void {
    try {
      const pair = readKeyPair(certFile, keyFile, Date.now())
      problem = null
      if (pair.cert + pair.key === current) return
      current = pair.cert + pair.key
      onChange(pair)
    } catch (error) {
      // The old certificate goes on: files are often replaced one after the other.
      problem = (error as Error).message
      onError(error as Error)
    }
  }

  // Polling, because mounted secrets are swapped by renaming a directory that fs.watch does not see.
  for (const file of [certFile, keyFile]) watchFile(file, { interval: RELOAD_EVERY_MS, persistent: false }, reload)
  // A certificate that was put there early begins without a change of its file.
  const retries = setInterval(() => problem !== null && reload(), RETRY_EVERY_MS).unref()
  const stop = () => {
    clearInterval(retries)
    for (const file of [certFile, keyFile]) unwatchFile(file, reload)
  }
  return { reload, stop }
}
