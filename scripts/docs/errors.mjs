// docs/errors.md: the reasons of errors.ts, and what the code cannot say of them.
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { load, requireSame, root, sourceOf } from './project.mjs'

const SENTENCES = {
  not_signed_in: {
    when: 'The call needs a session, and the request carries no session cookie or one that the server does not know.',
    advice: 'Call `auth.login`, then repeat the call with the new cookie.',
  },
  session_ended: {
    when: 'The session of the cookie has expired, was revoked or logged out, or its user was disabled, deleted or changed the password elsewhere. The answer clears the cookie. An open subscription ends with it.',
    advice: 'Ask the user to sign in again. Repeating the call with the same cookie cannot succeed.',
  },
  invalid_credentials: {
    when: 'Username and password do not match. Unknown, disabled and password-less accounts get the same answer, and so does an account whose password was locked by 100 failures in a row.',
    advice: 'Show the message, let the user try again, and offer a password reset. Do not guess which part was wrong.',
  },
  reauthentication_required: {
    when: 'The user is signed in, but last proved who they are too long ago for this procedure (15 minutes by default).',
    advice:
      'Ask for the password and call `auth.reauthenticate`, or start `auth.oauth.begin` for a user without a password; then repeat the call.',
  },
  forbidden: {
    when: 'The user lacks the role that the procedure needs. A sign-in with a provider to a disabled account gets it too.',
    advice: 'Do not repeat the call. Offer the action only to users who have the role.',
  },
  origin_refused: {
    when: 'A browser sent the request from a page of another origin, and the server does not allow that origin.',
    advice:
      "Serve the page from the server's own origin, or allow its origin: `TRPC_LOGIN_ORIGINS`, `createServer({ origins })`. Programs send no `Origin` header.",
  },
  registration_closed: {
    when: 'An account was to be created while registration is closed, which is the default: by `auth.register`, or by the first sign-in with a provider.',
    advice: 'Hide the sign-up form, or open registration: `TRPC_LOGIN_REGISTRATION`, `createAuth({ registration })`.',
  },
  not_found: {
    when: 'The path names no procedure, or the object does not exist or belongs to another user. The last two cannot be told apart.',
    advice: 'Check the path and the id, and load the list again.',
  },
  conflict: {
    when: 'The current state forbids the change: the username or address is taken, the account changed in the meantime, or the last administrator or the last way to sign in would go.',
    advice: 'Show the message. Where the account changed in the meantime, load it and try again.',
  },
  invalid_input: {
    when: 'The input or the form of the request was refused. The status is 400, or 413 for a body that is too large, 414 for such a URL, and 415 for a wrong content type.',
    advice: 'Correct the request: the same one will be refused again. `issues` names the fields.',
    adds: '`issues` where single fields were refused',
  },
  sign_in_failed: {
    when: 'A sign-in with a provider was cancelled, refused by the provider, finished before, is older than ten minutes, or came back to another browser than it began in.',
    advice: 'Offer to start the sign-in again.',
  },
  weak_password: {
    when: 'A new password is too short, or among those that are guessed first. The message says why.',
    advice: 'Show the message beside the password field.',
    adds: '`issues`, with the path of the password',
  },
  rate_limited: {
    when: 'Too many attempts for this account or from this IP.',
    advice: 'Wait `retryAfter` seconds before the next call; show the time to a person.',
    adds: '`retryAfter`; the header `Retry-After` says the same',
  },
  overloaded: {
    when: 'More passwords wait to be hashed than the server can take on.',
    advice: 'Repeat the call after `retryAfter` seconds, and not all clients at the same moment.',
    adds: '`retryAfter`; the header `Retry-After` says the same',
  },
  unavailable: {
    when: 'The database cannot be reached or written, or the provider of a sign-in cannot. The cookie is left alone.',
    advice: 'Keep the user signed in and repeat later. A mutation may have been done all the same: load the state before you repeat it.',
  },
}

const INTRO = `# Errors

Every failed call carries a stable \`reason\`. Programs decide by it, never by the message.

\`\`\`sh
curl --cacert .trpc-login/dev-ca.pem -H 'content-type: application/json' -H 'accept: application/json' \\
  -d '{"username":"user01","password":"wrong"}' https://127.0.0.1:8443/api/auth.login
\`\`\`

\`\`\`json
{
  "error": {
    "message": "Invalid username or password",
    "code": -32001,
    "data": {
      "code": "UNAUTHORIZED",
      "httpStatus": 401,
      "path": "auth.login",
      "reason": "invalid_credentials",
      "requestId": "7a537d70-a659-4c28-82a4-fb21e7eea016"
    }
  }
}
\`\`\`

\`\`\`ts
import { createClient, reasonOf, retryAfterOf } from '@trpc-login/client'
import type { AppRouter } from '../server.ts'

const { api } = createClient<AppRouter>({ url: 'https://example.com' })

try {
  await api.auth.login.mutate({ username: 'user01', password: 'wrong' })
} catch (error) {
  const reason = reasonOf(error)
  if (reason === 'invalid_credentials') console.log('try again')
  else if (reason === 'rate_limited') console.log(\`wait \${retryAfterOf(error)} seconds\`)
  else throw error
}
\`\`\`

| field of \`error.data\` | meaning |
| --- | --- |
| \`reason\` | one of the words below; \`null\` for an unexpected error (500) and for a wrong HTTP method (405) |
| \`httpStatus\`, \`code\` | the HTTP status, and its name in tRPC |
| \`path\` | the procedure, where one was called |
| \`requestId\` | the same as in the header \`x-request-id\` and in the server's log |
| \`issues\` | refused fields, each with \`path\` (such as \`["password"]\`) and \`message\` |
| \`retryAfter\` | seconds to wait |

A caller without superjson sends \`Accept: application/json\` and reads errors as shown; otherwise the same object stands under \`error.json\`.
`

export async function errorsPage() {
  const { REASONS } = await import(sourceOf('REASONS'))
  const { getHTTPStatusCodeFromError } = await load('@trpc/server/http')
  const { TRPCError } = await load('@trpc/server')
  requireSame('reasons', Object.keys(REASONS), Object.keys(SENTENCES), 'scripts/docs/errors.mjs')
  requireSame('reasons', Object.keys(REASONS), reasonsOfClient(), "the client's type Reason")

  const entries = Object.entries(REASONS).map(([reason, { code, message }]) => {
    const status = getHTTPStatusCodeFromError(new TRPCError({ code }))
    return { reason, code, status, message, ...SENTENCES[reason] }
  })
  const rows = entries.map(({ reason, status, code, message }) => `| [\`${reason}\`](#${reason}) | ${status} | \`${code}\` | ${message} |`)
  const sections = entries.map(({ reason, when, advice, adds }) =>
    [`### ${reason}`, when, `**What to do.** ${advice}`, ...(adds === undefined ? [] : [`\`error.data\` adds ${adds}.`])].join('\n\n'),
  )
  return [
    INTRO,
    '## Reasons',
    'The message is the default one; a procedure may give a more exact one.',
    `| reason | HTTP | tRPC code | message |\n| --- | --- | --- | --- |\n${rows.join('\n')}`,
    ...sections,
    '',
  ].join('\n\n')
}

/** The client knows no server, so its type names the reasons once more. */
function reasonsOfClient() {
  const sources = globSync('packages/client/src/**/*.ts', { cwd: root }).map((path) => readFileSync(join(root, path), 'utf8'))
  const union = sources.flatMap((text) => /^export type Reason =\n((?: {2}\| '\w+'\n)+)/m.exec(text)?.[1] ?? [])
  return union.flatMap((text) => [...text.matchAll(/'(\w+)'/g)].map(([, reason]) => reason))
}
