import { sqliteStorage } from '@trpc-login/server'

const [path = '', name = ''] = process.argv.slice(2)
const storage = sqliteStorage({ path })
let made = 0
for (let i = 0; i < 50; i += 1) {
  const id = `${name}-${i}`
  const user = {
    id,
    username: id,
    usernameKey: id,
    name: null,
    email: null,
    emailVerifiedAt: null,
    roles: [],
    passwordHash: null,
    epoch: 0,
    createdAt: i,
    disabledAt: null,
    lastLoginAt: null,
    attributes: null,
  }
  if (await storage.users.create(user))
    made += (await storage.users.setPassword(id, { epoch: 0, passwordHash: 'h', now: i, keep: null })) ? 1 : 0
}
await storage.close()
process.stdout.write(String(made))
