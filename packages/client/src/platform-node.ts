import './require-node.ts'
import { EventSource } from 'eventsource'
import { createCookieJar } from './cookie-jar.ts'
import { goToProvider } from './loopback.ts'
import type { Platform } from './platform.ts'

export const platform: Platform = { createCookieJar, EventSource, goToProvider }
