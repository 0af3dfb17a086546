import { statfsSync } from 'node:fs'
import { dirname } from 'node:path'
import { AuthError } from '../errors.ts'
import type { Config } from './config.ts'
import { nameOfDatabase } from './database-name.ts'

/** What is wrong, and what its operator can do about it. */
export interface Problem {
  readonly detail: string
  readonly remedy: string
}

/** What a failing database is known by: SQLite's primary code, or the code of PostgreSQL, of Node's sockets and of OpenSSL. */
interface Failure {
  readonly message: string
  readonly code: string
  readonly sqlite: number | null
}

type Explain = (config: Config, failure: Failure) => Problem

const LITTLE_ROOM = 64 * 1024
const URL_VARIABLE = 'TRPC_LOGIN_DATABASE_URL'
const RESTORE = 'keep the file and its log as they are, and restore a backup (docs/storage.md)'

const MAY_NOT_WRITE: Explain = ({ database }) => {
  const file = database.kind === 'sqlite' ? database.file : ''
  return {
    detail: `${file} cannot be written by this user`,
    remedy: `give ${dirname(file)} and what is in it to the user who runs this (chown), on a file system that is mounted writable`,
  }
}

function fullDisk(config: Config): Problem {
  const file = nameOfDatabase(config)
  return { detail: `the disk of ${file} is full`, remedy: `make room on the file system of ${dirname(file)}` }
}

/** The files beside the database fail with an error of the disk where there is no room for them. */
function isFull(directory: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(directory)
    return bavail * bsize < LITTLE_ROOM
  } catch {
    // It cannot be asked, so its error is what there is to say.
    return false
  }
}

/** By the primary result code (https://www.sqlite.org/rescode.html). */
const SQLITE: Readonly<Record<number, Explain>> = {
  1: (config, { message }) => ({ detail: `${nameOfDatabase(config)}: ${message}`, remedy: RESTORE }),
  5: (config) => ({
    detail: `${nameOfDatabase(config)} is locked: another process has begun to write and does not finish`,
    remedy: `end that process; fuser ${nameOfDatabase(config)} names who has the file open`,
  }),
  8: MAY_NOT_WRITE,
  10: (config, { message }) =>
    isFull(dirname(nameOfDatabase(config)))
      ? fullDisk(config)
      : {
          detail: `${nameOfDatabase(config)} cannot be read or written: ${message}`,
          remedy: 'look for errors of the disk in the log of the system, and move the database to a disk that is sound',
        },
  11: (config, { message }) => ({ detail: `${nameOfDatabase(config)} is damaged: ${message}`, remedy: RESTORE }),
  13: fullDisk,
  14: MAY_NOT_WRITE,
  26: (config) => ({
    detail: `${nameOfDatabase(config)} is no SQLite database, or its beginning is damaged`,
    remedy: `name another file with ${URL_VARIABLE}, or restore a backup`,
  }),
}

const correctUrl = (what: string) => `correct ${what} in ${URL_VARIABLE}`
const CANNOT_BE_REACHED: Explain = (config) => ({
  detail: `${nameOfDatabase(config)} does not answer`,
  remedy: `see that PostgreSQL runs and that no firewall is between, or ${correctUrl('host and port')}`,
})
const NOT_TRUSTED: Explain = (config, { message }) => ({
  detail: `${nameOfDatabase(config)} has a certificate that is not trusted: ${message}`,
  remedy: `add sslrootcert=FILE with its authority to ${URL_VARIABLE}, and connect by the name that the certificate has`,
})
const MAY_NOT_SIGN_IN: Explain = (config, { message }) => ({
  detail: `${nameOfDatabase(config)} refuses the user or the password: ${message}`,
  remedy: `${correctUrl('user and password')}, or allow the user in pg_hba.conf`,
})
const SCHEMA_BEHIND: Explain = (config, { message }) => ({
  detail: `${nameOfDatabase(config)} lacks what this program needs: ${message}`,
  remedy: 'run: trpc-login migrate',
})

/** By SQLSTATE (https://www.postgresql.org/docs/current/errcodes-appendix.html), or the code of a socket. */
const POSTGRES: Readonly<Record<string, Explain>> = {
  ECONNREFUSED: (config) => ({
    detail: `nothing listens at ${nameOfDatabase(config)} (ECONNREFUSED)`,
    remedy: `start PostgreSQL, or ${correctUrl('host and port')}`,
  }),
  ENOTFOUND: (config) => ({ detail: `the host of ${nameOfDatabase(config)} is unknown`, remedy: correctUrl('the host') }),
  EAI_AGAIN: (config) => ({
    detail: `the host of ${nameOfDatabase(config)} cannot be looked up`,
    remedy: 'see that names are resolved (DNS)',
  }),
  ETIMEDOUT: CANNOT_BE_REACHED,
  EHOSTUNREACH: CANNOT_BE_REACHED,
  ENETUNREACH: CANNOT_BE_REACHED,
  ECONNRESET: CANNOT_BE_REACHED,
  SELF_SIGNED_CERT_IN_CHAIN: NOT_TRUSTED,
  DEPTH_ZERO_SELF_SIGNED_CERT: NOT_TRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: NOT_TRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: NOT_TRUSTED,
  ERR_TLS_CERT_ALTNAME_INVALID: NOT_TRUSTED,
  CERT_HAS_EXPIRED: NOT_TRUSTED,
  '28P01': MAY_NOT_SIGN_IN,
  '28000': MAY_NOT_SIGN_IN,
  '3D000': (config) => ({
    detail: `there is no such database as ${nameOfDatabase(config)}`,
    remedy: `make it with the encoding UTF8 (createdb -E UTF8 NAME) and run trpc-login migrate, or ${correctUrl('its name')}`,
  }),
  '42501': (config, { message }) => ({
    detail: `the user of ${nameOfDatabase(config)} lacks a right: ${message}`,
    remedy: 'grant it: grant select, insert, update, delete on all tables in schema public to USER',
  }),
  '25006': (config) => ({
    detail: `${nameOfDatabase(config)} takes no writes: it is a standby, or read-only`,
    remedy: `name the primary server in ${URL_VARIABLE}`,
  }),
  '42P01': SCHEMA_BEHIND,
  '42703': SCHEMA_BEHIND,
  '53100': (config) => ({ detail: `the disk of ${nameOfDatabase(config)} is full`, remedy: 'make room on its data directory' }),
  '53300': (config) => ({
    detail: `${nameOfDatabase(config)} has no connection left`,
    remedy: 'raise max_connections, or run fewer processes or a smaller pool',
  }),
  '57P03': (config) => ({ detail: `${nameOfDatabase(config)} is starting or recovering`, remedy: 'wait until it accepts connections' }),
  XX001: (config, { message }) => ({ detail: `${nameOfDatabase(config)} is damaged: ${message}`, remedy: 'restore a backup' }),
  XX002: (config, { message }) => ({
    detail: `${nameOfDatabase(config)} has a damaged index: ${message}`,
    remedy: 'reindex it, or restore a backup',
  }),
}

/** What PostgreSQL's driver says without a code. */
const BY_TEXT: readonly (readonly [RegExp, Explain])[] = [
  [/timeout|timed out|in time|terminated/i, CANNOT_BE_REACHED],
  [/password must be a string/, MAY_NOT_SIGN_IN],
  [
    /does not support SSL/,
    (config) => ({
      detail: `${nameOfDatabase(config)} speaks no TLS`,
      remedy: `set ssl = on there, or on a network that you trust leave sslmode out of ${URL_VARIABLE}`,
    }),
  ],
]

/** What a failing database means; `null` for what is explained by its own message, or by nothing. */
export function explain(error: unknown, config: Config): Problem | null {
  if (error instanceof AuthError && error.reason !== 'unavailable') return null
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    const failure = toFailure(cause)
    const found = config.database.kind === 'sqlite' ? SQLITE[failure.sqlite ?? -1] : explainPostgres(failure)
    if (found !== undefined) return found(config, failure)
  }
  return null
}

function explainPostgres(failure: Failure): Explain | undefined {
  return POSTGRES[failure.code] ?? BY_TEXT.find(([pattern]) => pattern.test(failure.message))?.[1]
}

function toFailure(error: Error): Failure {
  const { code, errcode, message } = error as Error & { code?: unknown; errcode?: unknown }
  // The lower byte; the rest says why.
  return { message, code: typeof code === 'string' ? code : '', sqlite: typeof errcode === 'number' ? errcode & 0xff : null }
}

/** Our own refusals say what is wrong and, behind a semicolon, what to do. */
export function splitRefusal(refusal: unknown): Problem {
  const message = refusal instanceof Error ? innermost(refusal).message : String(refusal)
  const [, detail = message, remedy = 'see docs/configuration.md'] = /^(.*?); (.*)$/s.exec(message) ?? []
  return { detail, remedy: remedy.replace(/^run: /, '') }
}

/** That something is unavailable says nothing; why it is does. */
export function innermost(error: Error): Error {
  return error instanceof AuthError && error.reason === 'unavailable' && error.cause instanceof Error ? error.cause : error
}
