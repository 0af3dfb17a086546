import { EventSource } from 'eventsource'
import type { Platform } from './platform.ts'

export const platform: Platform = { keepsCookies: false, EventSource }
