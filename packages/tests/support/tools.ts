import { spawnSync } from 'node:child_process'

const inCi = process.env['CI'] !== undefined

/** Whether a program that npm cannot bring is there. CI installs them all, so there a missing one fails its test. */
export const hasPythonRequests = inCi || spawnSync('/usr/bin/python3', ['-c', 'import requests']).status === 0
export const hasChromium = inCi || spawnSync('/usr/bin/chromium', ['--version']).status === 0
export const hasWerkzeug = inCi || spawnSync('/usr/bin/python3', ['-c', 'import werkzeug']).status === 0
/** Whether this user may have a file system of its own; no package brings that, and some containers forbid it. */
export const hasNamespaces =
  process.platform === 'linux' && spawnSync('unshare', ['--mount', '--map-root-user', 'sh', '-c', 'mount -t tmpfs tmpfs /mnt']).status === 0
