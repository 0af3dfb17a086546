// What the router cannot say of its procedures: what each does, what it returns, and which reasons it has of its own.

const SECRET = ['invalid_credentials', 'rate_limited', 'overloaded']
const NEW_PASSWORD = ['weak_password', 'overloaded']

/** The groups in the order of the page, by the first part of the path. */
export const TITLES = {
  '': 'Sign in and out',
  sessions: 'Own sessions',
  account: 'Own account',
  oauth: 'Sign in with a provider',
  users: 'Users, for administrators',
  audit: 'Audit log, for administrators',
}

export const SENTENCES = {
  login: {
    does: 'Starts a session for a username, or a verified e-mail address, and its password. The session that came with the request ends. With `remember` the cookie outlives the browser, for at most 30 days.',
    returns: '`SignedIn`, and sets the cookie',
    fails: SECRET,
  },
  logout: {
    does: 'Ends the session of the request. It is harmless when nobody is signed in.',
    returns: '`{ ok: true }`, and clears the cookie',
  },
  me: { does: 'Tells who is signed in.', returns: '`SignedIn`, or `null` when nobody is signed in' },
  register: {
    does: 'Creates an account and signs in, while registration is open. The e-mail address counts as unverified.',
    returns: '`SignedIn`, and sets the cookie',
    fails: ['registration_closed', 'conflict', ...NEW_PASSWORD, 'rate_limited'],
  },
  resetPassword: {
    does: 'Sets a new password with the token of a reset link. It ends every session of the user, lifts the lock of failed attempts, and does not sign in.',
    returns: '`{ ok: true }`',
    fails: [...NEW_PASSWORD, 'rate_limited'],
  },
  reauthenticate: {
    does: 'Confirms the password of the signed-in user, so that the session is fresh again. The session goes on under a new token.',
    returns: '`SignedIn`, and sets the cookie',
    fails: [...SECRET, 'conflict'],
  },
  changePassword: {
    does: 'Changes the password, ends every other session, and gives this one a new token. `currentPassword` is needed unless the user has no password yet; then the session must be fresh.',
    returns: '`SignedIn`, and sets the cookie',
    fails: [...SECRET, 'weak_password', 'reauthentication_required', 'conflict'],
  },
  events: {
    does: "Tells one device of what happens to the user's account and to their other sessions. The stream ends when the session does.",
    returns: 'a stream of `AccountEvent`',
  },
  'sessions.list': { does: "Lists the user's active sessions.", returns: 'a list of `Session`, newest first' },
  'sessions.revoke': {
    does: "Ends one of the user's sessions.",
    returns: '`{ ok: true }`',
    fails: ['not_found'],
  },
  'sessions.revokeOthers': {
    does: "Ends all of the user's sessions but the one of the request.",
    returns: '`{ revoked: number }`',
  },
  'account.update': { does: "Changes the user's display name; `null` removes it.", returns: '`User`' },
  'account.delete': {
    does: 'Deletes the account and signs out. `password` is needed unless the user has none.',
    returns: '`{ ok: true }`, and clears the cookie',
    fails: [...SECRET, 'conflict'],
  },
  'account.export': {
    does: 'Collects everything that is stored about the user, without hashes and tokens. Of the audit log it holds the newest 200 entries; `auditCursor`, given back as `cursor`, leads to the next.',
    returns: '`{ user: User, sessions: Session[], identities: Identity[], audit: AuditEntry[], auditCursor: string | null }`',
    fails: ['rate_limited'],
  },
  'oauth.providers': {
    does: 'Lists the configured providers, to draw buttons from.',
    returns: 'a list of `{ id: string, name: string }`',
  },
  'oauth.begin': {
    does: 'Starts a sign-in with a provider. The browser goes to the URL and comes back to `/oauth/PROVIDER/callback`, then to `returnTo`, a path of the application. With `link` the identity is added to the signed-in user, whose session must be fresh. A program gives the port on which it listens at 127.0.0.1.',
    returns: '`{ url: string }`, and sets the cookie that binds the sign-in to this browser',
    fails: ['not_found', 'not_signed_in', 'reauthentication_required', 'rate_limited', 'unavailable'],
  },
  'oauth.finish': {
    does: 'Ends a sign-in that a program began: it hands over the query parameters that came to its port. Browsers do not call it.',
    returns: '`SignedIn`, and sets the cookie',
    fails: ['sign_in_failed', 'conflict', 'registration_closed', 'forbidden', 'unavailable'],
  },
  'oauth.identities': {
    does: 'Lists the accounts at providers that are linked to the user.',
    returns: 'a list of `Identity`',
  },
  'oauth.unlink': {
    does: 'Removes a linked identity, but never the last way to sign in.',
    returns: '`{ ok: true }`',
    fails: ['not_found', 'conflict'],
  },
  'users.list': {
    does: 'Lists users, newest first. With `search`: those whose username begins so, or whose e-mail address does where the text holds an `@`.',
    returns: '`{ items: UserRow[], nextCursor: string or null }`; pass `nextCursor` as `cursor` for the next page',
  },
  'users.get': { does: 'Reads one user.', returns: '`UserRow`', fails: ['not_found'] },
  'users.create': {
    does: "Creates a user. Without `password` the user signs in by a reset link or a provider. `attributes` are the application's own fields.",
    returns: '`UserRow`',
    fails: ['conflict', ...NEW_PASSWORD],
  },
  'users.update': {
    does: 'Changes the given fields; `null` removes a name or an address. `roles` and `attributes` replace the former ones.',
    returns: '`UserRow`',
    fails: ['not_found', 'conflict'],
  },
  'users.disable': {
    does: 'Disables a user: sessions end on the next request, and no new one starts.',
    returns: '`UserRow`',
    fails: ['not_found', 'conflict'],
  },
  'users.enable': { does: 'Enables a disabled user.', returns: '`UserRow`', fails: ['not_found'] },
  'users.delete': {
    does: 'Deletes a user with all sessions and identities.',
    returns: '`{ ok: true }`',
    fails: ['not_found', 'conflict'],
  },
  'users.startPasswordReset': {
    does: 'Makes a link that sets a new password, once and within 30 minutes. Earlier links become void. The administrator hands it over and never sees a password.',
    returns: '`{ url: string, expiresAt: Date }`',
    fails: ['not_found'],
  },
  'users.sessions': {
    does: 'Lists the active sessions of a user.',
    returns: 'a list of `Session`, newest first',
    fails: ['not_found'],
  },
  'users.revokeSessions': {
    does: 'Ends all sessions of a user.',
    returns: '`{ revoked: number }`',
    fails: ['not_found'],
  },
  'audit.list': {
    does: 'Lists what was done, newest first, optionally of one user (as actor or subject) or one [type](administration.md#audit-log).',
    returns: '`{ items: AuditEntry[], nextCursor: string or null }`; pass `nextCursor` as `cursor` for the next page',
  },
}

export const INTRO = `# Procedures

The procedures of \`auth.router\`, mounted as \`auth\`. Queries are \`GET\`, mutations are \`POST\` with JSON, subscriptions are server-sent events.

\`\`\`sh
CALL="curl --cacert .trpc-login/dev-ca.pem -H content-type:application/json -H accept:application/json"
$CALL -c jar -d '{"username":"user01","password":"demo-passphrase-01"}' https://127.0.0.1:8443/api/auth.login
$CALL -b jar https://127.0.0.1:8443/api/auth.sessions.list
$CALL -b jar -G --data-urlencode 'input={"limit":10}' https://127.0.0.1:8443/api/auth.users.list
\`\`\`

The result stands in \`result.data\`; failed calls are described in [Errors](errors.md). In the SDK the same calls are:

\`\`\`ts
import { createClient } from '@trpc-login/client'
import type { AppRouter } from '../server.ts'

const { api } = createClient<AppRouter>({ url: 'https://example.com' })

await api.auth.login.mutate({ username: 'user01', password: 'demo-passphrase-01' })
const sessions = await api.auth.sessions.list.query()
const { items, nextCursor } = await api.auth.users.list.query({ limit: 10 })
\`\`\`

- **Who may call.** A session is fresh for 15 minutes after its user proved a secret; \`auth.reauthenticate\` makes it fresh again. Administrators have the role \`admin\`.
- **Never in a batch** are calls that set the cookie or check a secret: one request carries one of them, and nothing else. The SDK does so by itself.
- **Input** is strict: unknown fields are refused. Limits are given in the words of the error.
- **Any procedure** may fail with \`invalid_input\`, \`rate_limited\` or \`unavailable\`; guarded ones also with \`not_signed_in\`, \`session_ended\`,
  \`reauthentication_required\` and \`forbidden\`, and guarded mutations with \`conflict\` where another call changed the account first.
`
