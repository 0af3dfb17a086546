import { randomInt } from 'node:crypto'
import type { AttributeRules } from './attributes.ts'
import type { Act, Audit } from './audit.ts'
import { AuthError } from './errors.ts'
import { canonicalEmail, nameSchema, usernameSchema } from './identifiers.ts'
import type { Log } from './log.ts'
import type { Profile, Provider } from './providers/provider.ts'
import type { Live, Sessions } from './sessions.ts'
import type { IdentityRecord, IdentityStore, UserRecord, UserStore } from './storage/storage.ts'
import { newId } from './tokens.ts'
import { newUserRecord } from './users.ts'

const MAX_TRIES = 10
const MAX_BASE = 50

/** An account elsewhere with which a user signs in here. */
export interface Identity {
  readonly id: string
  readonly provider: string
  readonly issuer: string
  readonly subject: string
  readonly email: string | null
  readonly createdAt: Date
}

export type Identities = ReturnType<typeof createIdentities>

/** Who somebody is here whom a provider has vouched for: the rules of linking. */
export function createIdentities(deps: {
  store: IdentityStore
  users: UserStore
  audit: Audit
  now: () => number
  attributes: AttributeRules
  registration: 'open' | 'closed'
  refusalOf: Sessions['refusalOf']
  log: Log
}) {
  const { store, users, audit, now, attributes, registration, refusalOf, log } = deps

  /**
   * The user of a profile, made where there is none yet. Only issuer and subject identify; an address links to the account that
   * has it only when both sides proved it.
   * @throws `conflict` when the owner of the address must sign in first, `registration_closed`, `forbidden` for a disabled account
   */
  async function userOf(told: Profile, provider: Provider, address: string | null): Promise<UserRecord> {
    const profile = withPlainEmail(told)
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const known = await store.findUser(profile.issuer, profile.subject)
      if (known !== null) return enabled(known)
      const email = profile.email === null ? null : canonicalEmail(profile.email)
      const owner = email === null ? null : await users.findByVerifiedEmail(email)
      // Whoever comes second in a race goes round once more and meets what the first has made.
      const found =
        owner === null ? await make(profile, provider, { email, tries, address }) : await adopt(profile, provider, owner, address)
      if (found !== null) return found
    }
    throw new AuthError('conflict', { message: 'The account was changed by another call; try again' })
  }

  async function adopt(profile: Profile, provider: Provider, owner: UserRecord, address: string | null): Promise<UserRecord | null> {
    if (!profile.emailVerified || owner.email === null) {
      throw new AuthError('conflict', { message: 'An account has this address; sign in to it first, then link' })
    }
    const identity = identityOf(profile, provider, enabled(owner).id)
    return (await store.link(identity, { verifiedEmail: owner.email }, linked(identity, address))) ? owner : null
  }

  async function make(
    profile: Profile,
    provider: Provider,
    { email, tries, address }: { email: string | null; tries: number; address: string | null },
  ): Promise<UserRecord | null> {
    if ((provider.registration ?? registration) === 'closed') throw new AuthError('registration_closed')
    const user = newUserRecord(
      {
        username: usernameFor(profile, provider, tries),
        name: nameSchema.safeParse(profile.name).data,
        email: email ?? undefined,
        emailVerified: profile.emailVerified,
      },
      { at: now(), passwordHash: null, attributes },
    )
    const identity = identityOf(profile, provider, user.id)
    const by: Act = { actorId: null, address }
    const made = await store.createUser(user, identity, {
      created: audit.entry('user_created', by, user.id, { username: user.username, provider: provider.id }),
      released: (userId) => audit.entry('address_released', by, userId, { provenBy: user.id }),
    })
    if (made !== 'created') return null
    log.info({ userId: user.id, provider: provider.id }, 'user_created')
    return user
  }

  /**
   * Lets an account elsewhere sign in the user of a live session.
   * @throws `conflict` when it signs in another user, `session_ended` when the session ended meanwhile
   */
  async function link(told: Profile, provider: Provider, { user, session }: Live, address: string | null): Promise<void> {
    const profile = withPlainEmail(told)
    const identity = identityOf(profile, provider, user.id)
    if (await store.link(identity, { sessionId: session.id, now: now() }, linked(identity, address))) return
    const known = await store.findUser(profile.issuer, profile.subject)
    if (known === null) throw new AuthError('session_ended')
    if (known.id !== user.id) throw new AuthError('conflict', { message: `This account of ${provider.name} signs in another user` })
  }

  function identityOf(profile: Profile, provider: Provider, userId: string): IdentityRecord {
    const { issuer, subject, email } = profile
    return { id: newId(now()), userId, provider: provider.id, issuer, subject, email, createdAt: now() }
  }

  function linked({ userId, provider, issuer }: IdentityRecord, address: string | null) {
    log.info({ userId, provider }, 'identity_linked')
    return audit.entry('identity_linked', { actorId: userId, address }, userId, { provider, issuer })
  }

  return {
    userOf,
    link,
    /** With what a user signs in, oldest first. */
    async list(userId: string): Promise<Identity[]> {
      return (await store.list([userId])).map(({ userId: _userId, ...identity }) => ({
        ...identity,
        createdAt: new Date(identity.createdAt),
      }))
    },
    /** Removes a way to sign in. @throws `not_found`, `conflict` for the last way */
    async unlink(userId: string, id: string, by: Act): Promise<void> {
      const result = await store.unlink(id, userId, audit.entry('identity_unlinked', by, userId, { identityId: id }))
      if (result === 'refused') throw await refusalOf(by)
      if (result === 'last_way')
        throw new AuthError('conflict', { message: 'This is your only way to sign in; set a password or link another first' })
      if (!result) throw new AuthError('not_found')
      log.info({ userId, identityId: id }, 'identity_unlinked')
    },
  }
}

/** Without an address that only folding makes the one of somebody else, such as one with U+212A for a k: folded alike is not proved. */
function withPlainEmail(profile: Profile): Profile {
  const { email } = profile
  const isPlain = email !== null && canonicalEmail(email) === email.toLowerCase() && email.normalize('NFKC') === email
  return isPlain ? profile : { ...profile, email: null, emailVerified: false }
}

function enabled(user: UserRecord): UserRecord {
  if (user.disabledAt !== null) throw new AuthError('forbidden', { message: 'This account is disabled' })
  return user
}

/** A username of what the profile offers; from the second try on with digits, because the first was taken. */
function usernameFor(profile: Profile, provider: Provider, tries: number): string {
  const offered = [profile.username, profile.name, profile.email].map(asUsername).find((text) => text !== null)
  const base = offered ?? `${provider.id}-user`
  return tries === 0 && offered !== undefined ? base : `${base}-${randomInt(10 ** 4, 10 ** Math.min(5 + tries, 12))}`
}

function asUsername(text: string | null): string | null {
  const [local = ''] = (text ?? '').normalize('NFKC').split('@', 1)
  const kept = local
    .trim()
    .replace(/\s+/gu, '.')
    .replace(/[^\p{L}\p{M}\p{Nd}._-]|\p{Default_Ignorable_Code_Point}/gu, '')
  return usernameSchema.safeParse(Array.from(kept).slice(0, MAX_BASE).join('')).data ?? null
}
