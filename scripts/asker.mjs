// Notices that the process which asked for this one is gone: npm, when it is killed, ends without a word to what it has started.
import { readFileSync } from 'node:fs'

const INTERVAL_MS = 250
const SHELLS = ['sh', 'dash', 'bash', 'ash', 'busybox', 'zsh', 'ksh']

/** Calls `tell` once when npm is gone. Nothing is watched where no npm asked: a program that outlives its terminal was meant to. */
export function watchNpm(tell) {
  if (process.env.npm_lifecycle_event === undefined || process.platform === 'win32') return
  const parent = process.ppid
  // npm runs scripts by a shell, which would wait for us without it.
  const { name, ppid: npm } = readStat(parent)
  const isShell = SHELLS.includes(name)
  const timer = setInterval(() => {
    if (process.ppid === parent && (!isShell || readStat(parent).ppid === npm)) return
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
