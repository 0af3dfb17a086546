import type { Platform } from './platform.ts'

export const platform: Platform = {
  createCookieJar: null,
  EventSource: globalThis.EventSource,
  async goToProvider({ begin }) {
    const { url } = await begin({})
    globalThis.location.assign(url)
    // The page is being left: nothing after this call is to run.
    return new Promise(() => {})
  },
}
