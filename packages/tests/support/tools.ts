import { spawnSync } from 'node:child_process'
import { inject } from 'vitest'

/** Says that a test is skipped for lack of what only a machine can give; where the run was to be complete it runs all the same, and fails. */
export function skipped(what: string): boolean {
  const complete = inject('complete')
  if (!complete) console.warn(`skipped, because it is not installed: ${what}`)
  return complete
}

const runs = (command: string, args: readonly string[]) => spawnSync(command, args).status === 0

export const hasCurl = () => runs('curl', ['--version']) || skipped('curl')
export const hasPythonRequests = () => runs('/usr/bin/python3', ['-c', 'import requests']) || skipped('requests of /usr/bin/python3')
/** Whether this user may have a file system of its own; no package brings that, and some containers forbid it. */
export const hasNamespaces =
  process.platform === 'linux' && runs('unshare', ['--mount', '--map-root-user', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt'])
