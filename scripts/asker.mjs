// Notices that the process which asked for this one is gone: npm, when it is killed, ends without a word to what it has started.
import { readFileSync } from 'node:fs'

const INTERVAL_MS = 250
const SHELLS = ['sh', 'dash', 'bash', 'ash', 'busybox', 'zsh', 'ksh']

// At once, because installing may take longer than npm lives.
const parent = process.ppid
// npm runs scripts by a shell, which would wait for us without it.
const { name, ppid: npm } = readStat(parent)
const isShell = SHELLS.includes(name)
// Where no npm asked nothing is watched: a program that outlives its terminal was meant to.
const isAsked = process.env.npm_lifecycle_event !== undefined && process.platform !== 'win32'

/** Whether the npm that asked for this process is gone. */
export function isNpmGone() {
  return isAsked && (process.ppid !== parent || (isShell && readStat(parent).ppid !== npm))
}

/** Calls `tell` once when npm is gone. */
export function watchNpm(tell) {
  const timer = setInterval(() => {
    if (!isNpmGone()) return
    clearInterval(timer)
    tell()
  }, INTERVAL_MS)
  timer.unref()
}

/** Name and parent of a process, where the system shows them in /proc. */
function readStat(pid) {
  try {
    const [, name, ppid] = /\((.*)\) \S (\d+)/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8'))
    return { name, ppid }
  } catch {
    return { name: '', ppid: '' }
  }
}
