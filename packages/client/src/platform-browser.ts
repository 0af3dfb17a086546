import type { Platform } from './platform.ts'

export const platform: Platform = { keepsCookies: true, EventSource: globalThis.EventSource }
