import { spawnSync } from 'node:child_process'
import { inject } from 'vitest'

/** What only a machine can give: where it is missing its tests are skipped, or fail where the run was to be complete. */
function given(name: string, command: string, args: readonly string[]): boolean {
  if (spawnSync(command, args).status === 0) return true
  if (!inject('complete')) console.warn(`skipped, because it is not installed: ${name}`)
  return inject('complete')
}

export const hasCurl = () => given('curl', 'curl', ['--version'])
export const hasPythonRequests = () => given('requests of /usr/bin/python3', '/usr/bin/python3', ['-c', 'import requests'])
/** Whether this user may have a file system of its own; no package brings that, and some containers forbid it. */
export const hasNamespaces =
  process.platform === 'linux' && spawnSync('unshare', ['--mount', '--map-root-user', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']).status === 0
