import type { TestServer } from './server.ts'

/** A browser as far as cookies and redirects go, for the callback route, which the SDK never calls. */
export function createAgent(server: TestServer) {
  const cookies = new Map<string, string>()
  const cookie = () => [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
  const keep = (headers: { getSetCookie(): string[] }) => {
    for (const line of headers.getSetCookie()) {
      const [pair = ''] = line.split(';', 1)
      const [name = '', value = ''] = pair.split('=')
      if (value === '') cookies.delete(name)
      else cookies.set(name, value)
    }
  }

  async function post(path: string, body: unknown) {
    const answer = await server.post(path, body, { cookie: cookie() })
    keep(answer.headers)
    return answer
  }

  return {
    cookies,
    post,
    /** Begins a sign-in, and answers where the browser would go. */
    async begin(input: { provider: string } & Record<string, unknown>): Promise<string> {
      const { body, status } = await post('auth.oauth.begin', input)
      if (status !== 200) throw new Error(JSON.stringify(body))
      return (body.result as unknown as { data: { url: string } }).data.url
    },
    /** Comes back from the provider. */
    async comeBack(provider: string, parameters: URLSearchParams, headers: Record<string, string> = {}) {
      const response = await server.fetch(`/oauth/${provider}/callback?${parameters.toString()}`, {
        headers: { accept: 'application/json', 'sec-fetch-site': 'cross-site', cookie: cookie(), ...headers },
        redirect: 'manual',
      })
      keep(response.headers)
      const text = await response.text()
      return {
        status: response.status,
        location: response.headers.get('location'),
        headers: response.headers,
        text,
        error: text.startsWith('{') ? (JSON.parse(text) as { error: { message: string; data: { reason: string } } }).error : undefined,
      }
    },
    /** Who is signed in, as `auth.me` tells. */
    async me() {
      const response = await server.fetch('/api/auth.me', { headers: { accept: 'application/json', cookie: cookie() } })
      const { result } = (await response.json()) as {
        result: {
          data: {
            user: { id: string; username: string; email: string | null; emailVerified: boolean; name: string | null }
            session: { id: string; fresh: boolean; remembered: boolean }
          } | null
        }
      }
      return result.data
    },
  }
}
