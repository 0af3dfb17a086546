import './require-node.ts'
import type { AnyRouter } from '@trpc/server'
import { Agent, fetch as undiciFetch } from 'undici'
import { type Client, type ClientOptions, createClient as createPlainClient } from './client.ts'
import type { Fetch } from './cookie-fetch.ts'

export type { Client, ClientOptions, SignedInOf } from './client.ts'
export type { CookieStore, StoredCookie } from './cookie-jar.ts'
export { type Reason, reasonOf, retryAfterOf } from './errors.ts'
export { fileStore } from './file-store.ts'
export type { ClientSession, SessionState, SignInWithOptions } from './session.ts'

/** What only Node has beside the options of every client. */
export interface NodeClientOptions<TRouter extends AnyRouter> extends Omit<ClientOptions<TRouter>, 'fetch'> {
  /** Certificates to trust in place of the public ones, PEM: a private or development authority. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[]
}

/**
 * Like `createClient` of the main entry, with a private certificate authority and a store for the cookie.
 * Verification itself cannot be switched off.
 * @throws TypeError when the URL is not one that a session may be sent to
 */
export function createClient<TRouter extends AnyRouter>({ ca, ...options }: NodeClientOptions<TRouter>): Client<TRouter> {
  const agent = new Agent({
    connect: ca === undefined ? {} : { ca: typeof ca === 'string' || Buffer.isBuffer(ca) ? ca : [...ca] },
    allowH2: false,
  })
  // undici's own fetch: an agent of the package does not fit every Node's built-in one.
  const fetch: Fetch = (input, init) =>
    undiciFetch(input as string, { ...(init as object), dispatcher: agent }) as unknown as Promise<Response>
  const client = createPlainClient<TRouter>({ ...options, fetch })
  let closing: Promise<void> | undefined
  return {
    ...client,
    close() {
      closing ??= client.close().then(() => agent.close())
      return closing
    },
  }
}
