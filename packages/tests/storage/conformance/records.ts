import { createHash } from 'node:crypto'
import type { Storage } from '@trpc-login/server'

export type User = Parameters<Storage['users']['create']>[0]
export type Session = Parameters<Storage['sessions']['start']>[0]
export type Identity = Parameters<Storage['identities']['link']>[0]
export type LinkProof = Parameters<Storage['identities']['link']>[1]
export type Transaction = Parameters<Storage['transactions']['put']>[0]

export const ANY = { userId: null, type: null, limit: 100, before: null }
export const RACERS = 20
export const LIMITS = { replaces: null, maxPerUser: 50 }
export const hash = (text: string) => new Uint8Array(createHash('sha256').update(text).digest())

export function user(fields: Partial<User> = {}): User {
  return {
    id: 'u1',
    username: 'Ada',
    usernameKey: 'ada',
    name: 'Ada Lovelace ❤',
    email: null,
    emailVerifiedAt: null,
    roles: ['editor', 'ünï'],
    passwordHash: '$argon2id$x',
    epoch: 0,
    createdAt: 1_800_000_000_000,
    disabledAt: null,
    lastLoginAt: null,
    attributes: null,
    ...fields,
  }
}

export function session(fields: Partial<Session> = {}): Session {
  return {
    id: 's1',
    userId: 'u1',
    userEpoch: 0,
    tokenHash: hash(fields.id ?? 's1'),
    createdAt: 1000,
    lastSeenAt: 1000,
    expiresAt: 5000,
    absoluteExpiresAt: 9000,
    authenticatedAt: 1000,
    remembered: true,
    userAgent: 'agent',
    ip: '::1',
    endedAt: null,
    ...fields,
  }
}

export function identity(fields: Partial<Identity> = {}): Identity {
  return {
    id: 'i1',
    userId: 'u1',
    provider: 'google',
    issuer: 'https://issuer',
    subject: 'sub',
    email: 'a@example.com',
    createdAt: 5,
    ...fields,
  }
}

export function transaction(fields: Partial<Transaction> = {}): Transaction {
  return {
    stateHash: hash('state'),
    bindingHash: hash('binding'),
    provider: 'google',
    nonce: 'nonce',
    codeVerifier: 'verifier',
    returnTo: '/app?a=1',
    remember: true,
    link: false,
    userId: null,
    sessionId: null,
    loopbackPort: null,
    createdAt: 5,
    expiresAt: 100,
    ...fields,
  }
}

export function entry(id: string, fields = {}) {
  return { id, at: 5, type: 't', actorId: 'u1', subjectId: 'u1', address: '::1', detail: { before: 'x' }, ...fields }
}

/** As an entry of an instant has it. */
export function idAt(at: number): string {
  const hex = at.toString(16).padStart(12, '0')
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7abc-9def-0123456789ab`
}

/** How many of 20 at once got a truthy answer. */
export async function winners(act: (index: number) => Promise<unknown>): Promise<number> {
  const answers = await Promise.all(Array.from({ length: RACERS }, (_, index) => act(index)))
  return answers.filter(Boolean).length
}

/** What every engine promises; see the port for the words. */

/** A store of its own for each test. */
export type Open = () => Promise<Storage & AsyncDisposable>
