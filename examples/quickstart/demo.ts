import { relative } from 'node:path'
import type { Auth, RunningServer } from '@trpc-login/server'

const DEMO_USERS = ['01', '02', '03'].map((n) => ({ username: `user${n}`, password: `demo-passphrase-${n}` }))

/**
 * Makes the demo users in a fresh database, and only where nobody else can reach the server: their passwords are public.
 * Answers those that are there.
 */
export async function addDemoUsers(auth: Auth, host: string) {
  const loopback = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/.test(host)
  const { items } = await auth.users.list({ limit: 1 })
  if (items.length === 0 && loopback) {
    for (const user of DEMO_USERS) await auth.users.create(user)
    return DEMO_USERS
  }
  const found = await Promise.all(DEMO_USERS.map(({ username }) => auth.users.findByUsername(username)))
  if (!loopback && found.some((user) => user !== null)) {
    throw new Error(`this database has demo users, whose passwords are public; listen on 127.0.0.1 or use another TRPC_LOGIN_DATA_DIR`)
  }
  return DEMO_USERS.filter((_, index) => found[index] !== null)
}

/** What to try first. */
export function printGuide({ url, caFile }: RunningServer, users: typeof DEMO_USERS): void {
  const [user] = users
  const ca = caFile === null ? '' : ` --cacert ${relative('.', caFile)}`
  const json = "-H 'content-type: application/json' -H 'accept: application/json'"
  const lines = [
    ...(caFile === null ? [] : [`CA file: ${relative('.', caFile)}`]),
    ...users.map(({ username, password }) => `demo user: ${username} / ${password}`),
    ...(user === undefined
      ? []
      : [
          'try:',
          `  curl${ca} -c cookies.txt ${json} -d '${JSON.stringify(user)}' ${url}/api/auth.login`,
          `  curl${ca} -b cookies.txt ${json} -d '{"a":1}' ${url}/api/authFunc`,
        ]),
  ]
  process.stdout.write(lines.map((line) => `${line}\n`).join(''))
}
