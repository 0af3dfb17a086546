// A real OpenID provider as a process of its own: `node oidc-provider.ts DIRECTORY REDIRECT_URI...` says where it listens.
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'
import { developmentTls } from '../../server/src/http/development-tls.ts'

const [dir = '', ...redirectUris] = process.argv.slice(2)
const { cert, key } = await developmentTls(dir, '127.0.0.1', Date.now())
const server = createServer({ cert, key })
await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
const issuer = `https://localhost:${(server.address() as AddressInfo).port}`

const provider = new Provider(issuer, {
  clients: [{ client_id: 'app', client_secret: 'a-secret-of-the-test-alone', redirect_uris: redirectUris }],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], email: ['email', 'email_verified'] },
  findAccount: (_ctx: unknown, id: string) => ({
    accountId: id,
    claims: async () => ({
      sub: id,
      preferred_username: id,
      name: `${id} of the provider`,
      email: `${id}@example.com`,
      // By name, so that a test chooses by whom it signs in as.
      email_verified: !id.startsWith('unproved'),
    }),
  }),
})
server.on('request', provider.callback())
process.stdout.write(`listening on ${issuer}\n`)
