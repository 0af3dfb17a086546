import { createPrivateKey, type KeyObject, sign } from 'node:crypto'
import { z } from 'zod'
import type { Registration } from './client.ts'
import { createOidcProvider } from './oidc.ts'
import { type Provider, textOf } from './provider.ts'

const ISSUER = 'https://appleid.apple.com'
const SECRET_SECONDS = 300

/** How this application is known at Apple, which wants a key in place of a secret. */
export interface AppleOptions extends Registration {
  /** The Services ID. */
  readonly clientId: string
  readonly teamId: string
  readonly keyId: string
  /** The `.p8` file's text. */
  readonly privateKey: string
}

/**
 * Sign-in with Apple; make the Services ID and the key at developer.apple.com. It tells the name once, at the first sign-in.
 * @throws TypeError when the private key cannot be read
 */
export function apple({ clientId, teamId, keyId, privateKey, ...registration }: AppleOptions): Provider {
  const key = readKey(privateKey)
  return createOidcProvider(
    { id: 'apple', name: 'Apple', issuer: ISSUER, scope: 'openid name email', clientId, clientSecret: '', ...registration },
    {
      formPost: true,
      parameters: { response_mode: 'form_post' },
      // Apple asks for the password each time, and says when it did.
      reauthentication: {},
      clientSecret: () => signSecret({ iss: teamId, sub: clientId, aud: ISSUER }, keyId, key),
      nameIn: (parameters) => readName(parameters.get('user')),
    },
  )
}

function readKey(pem: string): KeyObject {
  try {
    return createPrivateKey(pem)
  } catch (cause) {
    throw new TypeError('apple: privateKey must be the text of the .p8 file', { cause })
  }
}

/** A JWT in place of a secret, made anew for each request and good for five minutes. */
function signSecret(claims: Record<string, string>, kid: string, key: KeyObject): string {
  const at = Math.floor(Date.now() / 1000)
  const parts = [
    { alg: 'ES256', kid },
    { ...claims, iat: at, exp: at + SECRET_SECONDS },
  ]
  const text = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  return `${text}.${sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
}

const userSchema = z.object({ name: z.object({ firstName: z.string().default(''), lastName: z.string().default('') }) })

/** Comes through the browser unsigned: a name to show, nothing more. */
function readName(user: string | null): string | null {
  if (user === null) return null
  try {
    const { firstName, lastName } = userSchema.parse(JSON.parse(user)).name
    return textOf(`${firstName} ${lastName}`.trim())
  } catch {
    // A name that cannot be read is none; the sign-in does not need it.
    return null
  }
}
