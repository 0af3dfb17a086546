import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

export const ROOT = join(import.meta.dirname, '../../..')
export const CLI = join(ROOT, 'packages/server/src/cli/main.ts')

export function temporaryDirectory(): string {
  const dir = mkdtempSync(join(tmpdir(), 'trpc-login-run-'))
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }))
  return dir
}

export interface Run {
  readonly child: ChildProcess
  /** Resolves with all of standard output once it holds a text. */
  seen(text: string): Promise<string>
  ended: Promise<{ code: number | null; stdout: string; stderr: string }>
}

interface RunOptions {
  cwd: string
  env?: Record<string, string>
  input?: string
}

/** Runs a program of the workspace on this Node, as `scripts/run.mjs` would, in a directory and environment of its own. */
export function start(program: string, args: readonly string[], options: RunOptions): Run {
  return run(process.execPath, ['--conditions=@trpc-login/source', program, ...args], options)
}

/** Runs any command in a directory and environment of its own. */
export function run(command: string, args: readonly string[], options: RunOptions): Run {
  const env: Record<string, string | undefined> = { ...process.env, HOME: options.cwd, ...options.env }
  const child = spawn(command, args, { cwd: options.cwd, env, stdio: 'pipe' })
  onTestFinished(() => void child.kill('SIGKILL'))
  let stdout = ''
  let stderr = ''
  let check: (() => void) | undefined
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk
    check?.()
  })
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk
  })
  // A program may end before it has read anything.
  child.stdin.on('error', () => {})
  child.stdin.end(options.input ?? '')
  const ended = new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve) =>
    child.once('close', (code) => resolve({ code, stdout, stderr })),
  )
  return {
    child,
    ended,
    seen: (text) =>
      new Promise((resolve, reject) => {
        check = () => {
          if (stdout.includes(text)) resolve(stdout)
        }
        check()
        void ended.then(() => reject(new Error(`ended without "${text}":\n${stdout}${stderr}`)))
      }),
  }
}

/** Runs the command line tool to its end. */
export function cli(args: readonly string[], options: RunOptions) {
  return start(CLI, args, options).ended
}

/** A port that nobody listens on, for programs that must be told of each other before they start. */
export async function freePort(): Promise<number> {
  // Below those that systems give to whoever asks for any: such a one may be somebody else's before it is used.
  const port = 20_000 + Math.floor(Math.random() * 10_000)
  const probe = createServer()
  const isFree = await new Promise<boolean>((resolve) => {
    probe.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true))
  })
  if (!isFree) return freePort()
  await new Promise((resolve) => probe.close(resolve))
  return port
}
