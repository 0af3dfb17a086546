import type { Platform } from './platform.ts'
import { openShared } from './shared-source.ts'

/** The browser keeps the cookies, where no script sees them. */
export const platform: Platform = {
  fetch: (input, init) => globalThis.fetch(input, init),
  createCookies: ({ fetch }) => ({
    fetch: (input, init) => fetch(input, { ...init, credentials: 'include', redirect: 'error' }),
    version: 0,
    renew: async () => false,
    clear: async () => {},
  }),
  // How much memory an answer takes is the browser's to bound.
  bound:
    (fetch, { timeoutMs }) =>
    (input, init) => {
      const late = AbortSignal.timeout(timeoutMs)
      return fetch(input, { ...init, signal: init?.signal ? AbortSignal.any([init.signal, late]) : late })
    },
  openSource(url, { isShared }) {
    const open = () => new EventSource(url, { withCredentials: true })
    return isShared && 'locks' in navigator && 'BroadcastChannel' in globalThis ? openShared(url, open) : open()
  },
  async goToProvider({ begin }) {
    const { url } = await begin({})
    globalThis.location.assign(url)
    // The page is being left: nothing after this call is to run.
    return new Promise(() => {})
  },
}
