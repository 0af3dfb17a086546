import type { ExportedJWKSCache } from 'openid-client'
import { boundedFetch } from './bounded-fetch.ts'

const KEEP_MS = 5 * 60_000
const AGAIN_MS = 60_000
// The library asks again for a key that it does not know when the keys it has are a minute old.
const OLD_ENOUGH_SECONDS = 61

type Jwks = ExportedJWKSCache['jwks']

/** The signing keys of a provider, kept for five minutes. */
export interface KeyCache {
  /** What is known, for the library, said to be so old that it asks for a key that it does not know. */
  known(): ExportedJWKSCache | null
  /** Answers the library's request for the keys: where they are known, and one was not among them, at once and then once a minute (OA-9). */
  fetch(url: string, init: RequestInit): Promise<Response>
}

export function createKeyCache(): KeyCache {
  let known: { readonly jwks: Jwks; readonly at: number } | null = null
  let askedAgainAt = Number.NEGATIVE_INFINITY
  let asking: Promise<Jwks | null> | null = null

  function fresh(): Jwks | null {
    return known !== null && performance.now() - known.at < KEEP_MS ? known.jwks : null
  }

  async function ask(url: string, init: RequestInit): Promise<Jwks | null> {
    const response = await boundedFetch(url, init)
    const jwks = response.ok ? ((await response.json()) as Partial<Jwks> | null) : null
    if (!Array.isArray(jwks?.keys)) return null
    known = { jwks: { keys: jwks.keys }, at: performance.now() }
    return known.jwks
  }

  return {
    known() {
      const jwks = fresh()
      return jwks === null ? null : { jwks, uat: Math.floor(Date.now() / 1000) - OLD_ENOUGH_SECONDS }
    },
    async fetch(url, init) {
      const jwks = fresh()
      if (jwks !== null && asking === null) {
        if (performance.now() - askedAgainAt < AGAIN_MS) return Response.json(jwks)
        askedAgainAt = performance.now()
      }
      // Who comes meanwhile waits for the same answer.
      asking ??= ask(url, init).finally(() => {
        asking = null
      })
      return Response.json(await asking)
    },
  }
}
