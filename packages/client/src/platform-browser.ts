import type { Platform } from './platform.ts'

export const platform: Platform = { createCookieJar: null, EventSource: globalThis.EventSource }
