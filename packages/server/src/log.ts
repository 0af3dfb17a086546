import { type DestinationStream, pino } from 'pino'
import { requestId } from './request-scope.ts'

const MAX_UNWRITTEN = 1024 * 1024

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
    standardError(),
  )
}

/** A disk that is full must not end what is logged there; what is lost meanwhile is lost. */
function standardError(): DestinationStream {
  const destination = pino.destination({ fd: 2, sync: true, maxLength: MAX_UNWRITTEN })
  destination.on('error', () => {})
  return destination
}

/** The same log, with the id of the request that each event belongs to. */
export function withRequestIds(log: Log): Log {
  return {
    info: (fields, event) => log.info(named(fields), event),
    warn: (fields, event) => log.warn(named(fields), event),
    error: (fields, event) => log.error(named(fields), event),
  }
}

function named(fields: Record<string, unknown>): Record<string, unknown> {
  const id = requestId()
  return id === null ? fields : { requestId: id, ...fields }
}

/** For callers that want no log at all. */
export const silentLog: Log = { info: () => {}, warn: () => {}, error: () => {} }
