import { setTimeout as sleep } from 'node:timers/promises'
import type { SignedIn } from '@trpc-login/server'
import { Agent, fetch } from 'undici'
import { type Answer, cookieOf, PASSWORD } from './server.ts'

export const urlIn = (stdout: string): string => /listening on (\S+)/.exec(stdout)?.[1] ?? ''

export type Caller = ReturnType<typeof caller>

/** Plain JSON calls to a server in another process, with one cookie, as curl with its jar would make them. */
export function caller(url: string, ca: string, cookie = '') {
  const dispatcher = new Agent({ connect: { ca } })

  async function call(path: string, body?: unknown) {
    const response = await fetch(`${url}/api/${path}`, {
      headers: { 'content-type': 'application/json', accept: 'application/json', cookie },
      dispatcher,
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    })
    const set = cookieOf(response.headers)
    if (set !== '') cookie = set
    return { status: response.status, headers: response.headers, body: (await response.json()) as Answer, setsCookie: set !== '' }
  }

  return {
    call,
    cookie: () => cookie,
    login: (username: string, password = PASSWORD) => call('auth.login', { username, password }),
    async me() {
      const { status, body } = await call('auth.me')
      if (status !== 200) throw new Error(`auth.me answered ${status} ${JSON.stringify(body)}`)
      return body.result?.data as SignedIn | null | undefined
    },
    ready: async () => (await fetch(`${url}/readyz`, { dispatcher })).status,
    close: () => dispatcher.destroy(),
  }
}

/** Waits for something outside this process to become true. */
export async function until(holds: () => boolean | Promise<boolean>, withinMs = 10_000): Promise<number> {
  const from = performance.now()
  while (!(await holds())) {
    if (performance.now() - from > withinMs) throw new Error(`did not become true within ${withinMs} ms`)
    await sleep(20)
  }
  return performance.now() - from
}
