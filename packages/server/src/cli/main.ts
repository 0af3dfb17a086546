#!/usr/bin/env node
import { Command, CommanderError } from 'commander'
import { AuthError } from '../errors.ts'
import { ConfigError, describeVariables } from './config.ts'
import { doctor } from './doctor.ts'
import { migrate } from './migrate.ts'
import { EXIT, UsageError } from './output.ts'
import { serve } from './serve.ts'
import { addUser } from './user-add.ts'

const EXIT_OF_REASON: Readonly<Partial<Record<AuthError['reason'], number>>> = {
  not_found: EXIT.notFound,
  conflict: EXIT.conflict,
  invalid_input: EXIT.usage,
  weak_password: EXIT.usage,
}

const program = new Command('trpc-login')
  .description('Session sign-in for tRPC: the server and its administration.')
  .exitOverride()
  .showHelpAfterError()
  .addHelpText(
    'after',
    `\nEnvironment, each also as NAME_FILE:\n${describeVariables()}\n\nExit codes: 0 ok, 1 failure, 2 usage, 3 not found, 4 conflict`,
  )

program.command('serve').description('serve the auth router over HTTPS').action(serve)
program
  .command('migrate')
  .description('bring the database schema up to date')
  .option('--dry-run', 'only say what would be applied')
  .option('--json', 'print JSON')
  .action(migrate)
program.command('doctor').description('say what is wrong and what to do').option('--json', 'print JSON').action(doctor)
program
  .command('user')
  .description('manage users')
  .command('add <username>')
  .description('add a user; asks for the password')
  .option('--name <name>', 'full name')
  .option('--email <address>', 'e-mail address')
  .option('--email-verified', 'the address was proved by other means')
  .option('--role <role...>', 'roles, such as admin')
  .option('--password-stdin', 'read the password from standard input')
  .option('--no-password', 'no password: the user signs in by other means')
  .option('--json', 'print JSON')
  .action(addUser)

try {
  await program.parseAsync()
} catch (error) {
  process.exitCode = report(error)
}

function report(error: unknown): number {
  // Commander has printed its own message already; help and version end the same way.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  process.stderr.write(`trpc-login: ${error instanceof Error ? error.message : String(error)}\n`)
  if (error instanceof ConfigError || error instanceof UsageError) return EXIT.usage
  if (!(error instanceof AuthError)) return EXIT.failure
  if (error.reason === 'unavailable' && error.cause !== undefined) process.stderr.write(`  ${error.cause.message}\n`)
  return EXIT_OF_REASON[error.reason] ?? EXIT.failure
}
