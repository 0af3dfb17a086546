import './require-node.ts'
import type { AnyRouter } from '@trpc/server'
import { type Client, type ClientOptions, createClient as createPlainClient } from './client.ts'
import { type Authorities, createAgent } from './tls.ts'

export type { Client, ClientOptions, SignedInOf } from './client.ts'
export type { CookieStore, StoredCookie } from './cookie-jar.ts'
export { type Reason, reasonOf, retryAfterOf } from './errors.ts'
export { fileStore } from './file-store.ts'
export type { ClientSession, SessionState, SignInWithOptions } from './session.ts'

/** What only Node has beside the options of every client. */
export interface NodeClientOptions<TRouter extends AnyRouter> extends Omit<ClientOptions<TRouter>, 'fetch'> {
  /** Certificates to trust in place of the public ones, PEM: a private or development authority. */
  readonly ca?: Authorities
}

/**
 * Like `createClient` of the main entry, with a private certificate authority and a store for the cookie.
 * Verification itself cannot be switched off, by `NODE_TLS_REJECT_UNAUTHORIZED` neither.
 * @throws TypeError when the URL is not one that a session may be sent to
 */
export function createClient<TRouter extends AnyRouter>({ ca, ...options }: NodeClientOptions<TRouter>): Client<TRouter> {
  const agent = createAgent(ca)
  const client = createPlainClient<TRouter>({ ...options, fetch: agent.fetch })
  let closing: Promise<void> | undefined
  return {
    ...client,
    close() {
      closing ??= client.close().then(agent.close)
      return closing
    },
  }
}
