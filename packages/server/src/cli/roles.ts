import type { Config } from './config.ts'
import { UsageError } from './output.ts'

/** Why a role cannot be given, or `null`. The command line loads no application, so it knows its roles by the environment alone. */
export function problemWithRole({ auth }: Config, role: string): string | null {
  const known = ['admin', ...auth.roles]
  return known.includes(role) ? null : `${role} is no role; known are ${known.join(', ')}, and TRPC_LOGIN_ROLES names the application's own`
}

/** @throws UsageError for the first that nobody would look for, such as one that is misspelt */
export function requireKnownRoles(config: Config, roles: readonly string[]): void {
  for (const role of roles) {
    const problem = problemWithRole(config, role)
    if (problem !== null) throw new UsageError(problem)
  }
}
