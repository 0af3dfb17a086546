import { pino } from 'pino'

/** Where events go; pino's own shape, so that a pino logger fits as it is. */
export interface Log {
  info(fields: Record<string, unknown>, event: string): void
  warn(fields: Record<string, unknown>, event: string): void
  error(fields: Record<string, unknown>, event: string): void
}

/** JSON lines on standard error, times in UTC, event names after the OWASP logging vocabulary. */
export function createJsonLog(): Log {
  return pino(
    { base: null, messageKey: 'event', timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (level) => ({ level }) } },
    pino.destination({ fd: 2, sync: true }),
  )
}

/** For callers that want no log at all. */
export const silentLog: Log = { info: () => {}, warn: () => {}, error: () => {} }
