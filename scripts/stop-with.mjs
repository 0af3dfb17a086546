// Loaded into the program that run.mjs starts: when run.mjs is gone, as after kill -9, the program is told to stop like by a signal.
import { isMainThread } from 'node:worker_threads'

const parent = Number(new URL(import.meta.url).searchParams.get('parent'))

// Processes that the program starts may be given the same flags; their parent is another. One whose parent is gone already has the system's first.
if (isMainThread && (process.ppid === parent || process.ppid === 1)) {
  const timer = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(timer)
    process.kill(process.pid, 'SIGTERM')
  }, 250)
  timer.unref()
}
