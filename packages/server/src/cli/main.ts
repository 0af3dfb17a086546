#!/usr/bin/env node
import './require-node.ts'

import { readFileSync } from 'node:fs'
import { Command, CommanderError } from 'commander'
import { AuthError } from '../errors.ts'
import {
  deleteUser,
  disableUser,
  enableUser,
  listAudit,
  listSessions,
  listUsers,
  resetPassword,
  revokeSessions,
  setRoles,
  showUser,
} from './administration.ts'
import { backupDatabase } from './backup.ts'
import { printCompletion } from './completion.ts'
import { loadConfig } from './config.ts'
import { ConfigError } from './config-error.ts'
import { doctor } from './doctor.ts'
import { migrate } from './migrate.ts'
import { EXIT, say, UsageError } from './output.ts'
import { explain, innermost } from './problems.ts'
import { serve } from './serve.ts'
import { addUser } from './user-add.ts'
import { exportUsers } from './user-export.ts'
import { importUsers } from './user-import.ts'
import { describeVariables } from './variables.ts'
import { sayProblem } from './workers.ts'

const EXIT_OF_REASON: Readonly<Partial<Record<AuthError['reason'], number>>> = {
  not_found: EXIT.notFound,
  conflict: EXIT.conflict,
  invalid_input: EXIT.usage,
  weak_password: EXIT.usage,
}

const LEFT_OVER_MS = 500

const program = new Command('trpc-login')
  .description('Session sign-in for tRPC: the server and its administration.')
  .version(version(), '--version', 'print the version')
  .exitOverride()
  // It repeats what was typed, and programs type what others wrote.
  .configureOutput({ writeErr: sayLines })
  .showHelpAfterError()
  .addHelpText(
    'after',
    `\nEnvironment, each also as NAME_FILE:\n${describeVariables()}\n\nExit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 conflict`,
  )

program
  .command('serve')
  .description('serve the auth router over HTTPS')
  .option('--workers <n>', 'processes that share the port and the database', '1')
  .action(serve)
program
  .command('migrate')
  .description('bring the database schema up to date')
  .option('--dry-run', 'only say what would be applied')
  .option('--json', 'print JSON')
  .action(migrate)
program
  .command('backup <file>')
  .description('copy the embedded database to a new file, while servers go on')
  .option('--json', 'print JSON')
  .action(backupDatabase)
program.command('doctor').description('say what is wrong and what to do').option('--json', 'print JSON').action(doctor)
const JSON_OPTION = ['--json', 'print JSON'] as const
const user = program.command('user').description('manage users')
user
  .command('add <username>')
  .description('add a user; asks for the password')
  .option('--name <name>', 'full name')
  .option('--email <address>', 'e-mail address')
  .option('--email-verified', 'the address was proved by other means')
  .option('--role <role>', 'a role, such as admin; may be given again', addRoles)
  .option('--password-stdin', 'read the password from standard input')
  .option('--no-password', 'no password: the user signs in by other means')
  .option(...JSON_OPTION)
  .action(addUser)
user
  .command('list')
  .description('list users, newest first, or those whose username or address begins so')
  .option('--search <text>', 'beginning of a username, or of an address with its @')
  .option('--limit <n>', 'users a page, 1 to 100', '50')
  .option('--cursor <cursor>', 'where the page before ended')
  .option(...JSON_OPTION)
  .action(listUsers)
user
  .command('show <user>')
  .description('show a user, by username or id')
  .option(...JSON_OPTION)
  .action(showUser)
user
  .command('set-roles <user> [roles...]')
  .description('give a user these roles and no others')
  .option(...JSON_OPTION)
  .action(setRoles)
user
  .command('disable <user>')
  .description('refuse a user and end their sessions')
  .option(...JSON_OPTION)
  .action(disableUser)
user
  .command('enable <user>')
  .description('let a disabled user in again')
  .option(...JSON_OPTION)
  .action(enableUser)
user
  .command('delete <user>')
  .description('remove a user and all that is theirs')
  .option(...JSON_OPTION)
  .action(deleteUser)
user
  .command('reset-password <user>')
  .description('print a link with which its holder sets a new password, within half an hour')
  .option(...JSON_OPTION)
  .action(resetPassword)
user
  .command('import <file>')
  .description('add the users of a CSV, NDJSON or htpasswd file, with the password hashes of Flask, Django and others')
  .option('--format <format>', 'csv, ndjson or htpasswd; by default what the name ends in')
  .option('--rejects <file>', 'where what cannot be taken is listed; by default FILE.rejects')
  .option('--dry-run', 'only say what would be added')
  .option(...JSON_OPTION)
  .action(importUsers)
user
  .command('export')
  .description('print every user as a line of JSON')
  .option('--with-hashes', 'with password hashes, for a move to another database')
  .action(exportUsers)
const session = program.command('session').description('manage sessions')
session
  .command('list <user>')
  .description('list the live sessions of a user')
  .option(...JSON_OPTION)
  .action(listSessions)
session
  .command('revoke [user] [session]')
  .description('end one session of a user, or all, or with --all those of everyone')
  .option('--all', 'of everyone, as after a backup was restored')
  .option(...JSON_OPTION)
  .action(revokeSessions)
program
  .command('audit')
  .description('the audit log: what was done, by which user and to which')
  .command('list')
  .description('list the log, newest first, after the last 30 days of sign-ins and failures')
  .option('--user <user>', 'as actor or subject, by username or id')
  .option('--type <type>', 'such as authn_login_fail')
  .option('--limit <n>', 'entries a page, 1 to 100', '50')
  .option('--cursor <cursor>', 'where the page before ended')
  .option(...JSON_OPTION)
  .action(listAudit)

program
  .command('completion <shell>')
  .description('print a completion script: bash, zsh or fish')
  .action((shell: string) => printCompletion(program, shell))

let isServing = false
program.hook('preAction', (_program, command) => {
  isServing = command.name() === 'serve'
})
// Whoever reads the results may leave, and a disk may be full. A server goes on without being heard.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (isServing) return
  say(`trpc-login: standard output cannot be written: ${error.code ?? error.message}`)
  process.exit(EXIT.failure)
})
// Nothing can be said about it.
process.stderr.on('error', () => {})

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = report(error)
  // A connection that was never let in would keep the process for a minute.
  setTimeout(() => process.exit(), LEFT_OVER_MS).unref()
}

function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
  return version
}

function addRoles(value: string, before: readonly string[] = []): string[] {
  return [...before, ...value.split(',')]
}

function report(error: unknown): number {
  // Commander has printed its own message already; help and version end the same way.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  if (error instanceof ConfigError || error instanceof UsageError) {
    // One line for each field or setting that is wrong.
    sayLines(`trpc-login: ${error.message}`)
    return EXIT.usage
  }
  sayProblem(`trpc-login: ${messageOf(error)}`)
  if (!(error instanceof AuthError)) return EXIT.failure
  return EXIT_OF_REASON[error.reason] ?? EXIT.failure
}

/** What a failing database means, rather than to try again later. */
function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const problem = explain(error, loadConfig())
  if (problem !== null) return `${problem.detail}; ${problem.remedy}`
  return innermost(error).message
}

function sayLines(text: string): void {
  for (const line of text.replace(/\n$/, '').split('\n')) say(line)
}
