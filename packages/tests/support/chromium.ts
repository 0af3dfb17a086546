import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium } from 'playwright-core'
import { ROOT } from './process.ts'

/** The package holds programs for this platform alone; elsewhere it takes a browser that somebody installed. */
const isBrought = process.platform === 'linux' && process.arch === 'x64'
const INSTALLED = ['/usr/bin/chromium', '/usr/bin/google-chrome', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome']
const installed = INSTALLED.find((path) => existsSync(path))

export const hasChromium = isBrought || installed !== undefined

/** Starts the Chromium that npm brought, kept from calling home. */
export function launchChromium(): Promise<Browser> {
  const { executablePath, env } = isBrought ? unpacked() : { executablePath: installed, env: {} }
  if (executablePath === undefined) throw new Error('there is no Chromium for this platform')
  return chromium.launch({
    executablePath,
    env: { ...process.env, ...env },
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--no-first-run',
    ],
  })
}

function unpacked() {
  const home = unpack()
  const executablePath = join(home, 'chromium')
  // A minimal system has neither NSS nor fonts; one that has them is left to its own.
  const lacksLibraries = spawnSync(executablePath, ['--version']).status !== 0
  const env = {
    ...(lacksLibraries ? { LD_LIBRARY_PATH: join(home, 'al2023/lib') } : {}),
    ...(existsSync('/etc/fonts/fonts.conf') ? {} : { FONTCONFIG_PATH: join(home, 'fonts') }),
  }
  return { executablePath, env }
}

/**
 * Unpacks the package once a checkout. Left alone it would do so under fixed names in the system's temporary directory, where anybody could
 * have put a program before, and where two test files at once would run what is half there.
 */
function unpack(): string {
  const manifest = join(dirname(fileURLToPath(import.meta.resolve('@sparticuz/chromium'))), '../../package.json')
  const { version } = JSON.parse(readFileSync(manifest, 'utf8')) as { version: string }
  const cache = join(ROOT, 'node_modules/.cache')
  const home = join(cache, `chromium-${version}`)
  if (existsSync(home)) return home
  mkdirSync(cache, { recursive: true })
  const fresh = mkdtempSync(`${home}-`)
  const program = "await (await import('@sparticuz/chromium')).default.executablePath()"
  // The second variable is what makes it unpack the libraries too.
  const env = { ...process.env, TMPDIR: fresh, AWS_LAMBDA_JS_RUNTIME: 'nodejs24.x' }
  const { status, stderr } = spawnSync(process.execPath, ['-e', program], { cwd: import.meta.dirname, env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`Chromium could not be unpacked: ${stderr}`)
  try {
    renameSync(fresh, home)
  } catch (error) {
    // Another test file was faster.
    rmSync(fresh, { recursive: true })
    if (!existsSync(home)) throw error
  }
  return home
}
