import { spawnSync } from 'node:child_process'
import { inject } from 'vitest'

/** Says that a test is skipped for lack of what only a machine can give; where the run was to be complete it runs all the same, and fails. */
export function skipped(what: string): boolean {
  const complete = inject('complete')
  if (!complete) warn(what)
  return complete
}

const warn = (what: string) => console.warn(`skipped, because this machine lacks it: ${what}`)
const runs = (command: string, args: readonly string[]) => spawnSync(command, args).status === 0

export const hasCurl = () => runs('curl', ['--version']) || skipped('curl')
export const hasPythonRequests = () => runs('/usr/bin/python3', ['-c', 'import requests']) || skipped('requests of /usr/bin/python3')

/** Whether this user may have a file system of its own. No package brings that and some containers forbid it, so it is never demanded. */
export function hasNamespaces(): boolean {
  const mount = ['--mount', '--map-root-user', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']
  const has = process.platform === 'linux' && runs('unshare', mount)
  if (!has) warn('a file system of its own (unshare --mount)')
  return has
}
