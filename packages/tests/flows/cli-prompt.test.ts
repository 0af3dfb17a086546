import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { expect, onTestFinished, test } from 'vitest'
import { CLI, cli, temporaryDirectory } from '../support/process.ts'
import { skipped } from '../support/tools.ts'

// Of util-linux: gives a program a terminal, and what is written to it as if it were typed.
const SCRIPT = '/usr/bin/script'
const hasTerminal = process.platform === 'linux' && (existsSync(SCRIPT) || skipped(`${SCRIPT}, for a terminal`))

/** `user add ada` in a terminal, in which something is typed each time that it asks. */
async function typeAtPrompts(cwd: string, typed: readonly string[]) {
  const command = `'${process.execPath}' --conditions=@trpc-login/source '${CLI}' user add ada`
  const child = spawn(SCRIPT, ['-qec', command, '/dev/null'], {
    cwd,
    env: { ...process.env, HOME: cwd },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const answers = [...typed]
  let screen = ''
  let seen = 0
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    screen += text
    const asked = screen.match(/(Password|Again): /g)?.length ?? 0
    for (; seen < asked; seen += 1) child.stdin.write(answers.shift() ?? '')
  })
  const code = await new Promise((resolve) => child.once('close', resolve))
  return { code, screen: screen.replaceAll('\r', '') }
}

test.runIf(hasTerminal).each([
  ['typed twice', ['correct horse battery\r', 'correct horse battery\r']],
  ['pasted as two lines', ['correct horse battery\rcorrect horse battery\r']],
])('a password %s at the prompts of a terminal makes its user, and is not shown', async (_name, typed) => {
  const cwd = temporaryDirectory()
  const { code, screen } = await typeAtPrompts(cwd, typed)
  expect([code, screen]).toEqual([0, expect.stringMatching(/Password: \nAgain: \n/)])
  expect(screen).not.toMatch(/correct|horse/)
  const { stdout } = await cli(['user', 'list', '--json'], { cwd })
  expect(stdout).toContain('"username":"ada"')
})

test.runIf(hasTerminal).each([
  ['that differ', ['correct horse battery\r', 'correct horse batteri\r'], 'the passwords differ'],
  ['given up with Ctrl-C', ['corr\u0003'], 'cancelled'],
  ['given up with Ctrl-D', ['correct horse battery\r', '\u0004'], 'cancelled'],
])('passwords %s make nobody, and exit with 2', async (_name, typed, message) => {
  const cwd = temporaryDirectory()
  const { code, screen } = await typeAtPrompts(cwd, typed)
  expect([code, screen]).toEqual([2, expect.stringContaining(message)])
  expect(screen).not.toContain('corr')
})

test('without a terminal the way to give a password is named', async () => {
  const { code, stderr } = await cli(['user', 'add', 'ada'], { cwd: temporaryDirectory() })
  expect([code, stderr]).toEqual([2, expect.stringContaining('--password-stdin')])
})
