import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium } from 'playwright-core'
import { ROOT } from './process.ts'
import { skipped } from './tools.ts'

const INSTALLED = ['/usr/bin/chromium', '/usr/bin/google-chrome', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome']

interface Program {
  readonly path: string
  readonly env: Record<string, string>
  /** Libraries without which it would end at the first page. */
  readonly lacks: readonly string[]
}

// The package holds a program for this platform alone; elsewhere it takes a browser that somebody installed.
const program = process.platform === 'linux' && process.arch === 'x64' ? brought() : installed()

export const hasChromium = (): boolean => {
  if (program === null) return skipped('Chromium')
  return program.lacks.length === 0 || skipped(`${program.lacks.join(', ')} for Chromium`)
}

/** Starts Chromium, kept from calling home. */
export function launchChromium(): Promise<Browser> {
  if (program === null) throw new Error('npm brings no Chromium for this platform, and none is installed')
  return chromium.launch({
    executablePath: program.path,
    env: { ...process.env, ...program.env },
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

function installed(): Program | null {
  const path = INSTALLED.find((path) => existsSync(path))
  return path === undefined ? null : { path, env: {}, lacks: [] }
}

function brought(): Program {
  const home = unpack()
  const path = join(home, 'chromium')
  const fonts = existsSync('/etc/fonts/fonts.conf') ? {} : { FONTCONFIG_PATH: home }
  // A minimal system has no NSS; one that has it is left to its own.
  if (spawnSync(path, ['--version']).status === 0) return { path, env: fonts, lacks: [] }
  const libraries = join(home, 'al2023/lib')
  const env = { LD_LIBRARY_PATH: libraries }
  const loaded = [path, join(libraries, 'libsoftokn3.so')].map((file) => spawnSync('ldd', [file], { env, encoding: 'utf8' }).stdout)
  const lacks = [...loaded.join('').matchAll(/(\S+) => not found/g)].map(([, name]) => name ?? '')
  return { path, env: { ...env, ...fonts }, lacks }
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
  const code = "await (await import('@sparticuz/chromium')).default.executablePath()"
  // The second variable is what makes it unpack the libraries too.
  const env = { ...process.env, TMPDIR: fresh, AWS_LAMBDA_JS_RUNTIME: 'nodejs24.x' }
  const { status, stderr } = spawnSync(process.execPath, ['-e', code], { cwd: import.meta.dirname, env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`Chromium could not be unpacked: ${stderr}`)
  const fonts = `<dir prefix="relative">fonts/fonts</dir><cachedir prefix="relative">fonts/cache</cachedir>`
  writeFileSync(join(fresh, 'fonts.conf'), `<?xml version="1.0"?><fontconfig>${fonts}</fontconfig>\n`)
  try {
    renameSync(fresh, home)
  } catch (error) {
    // Another test file was faster.
    rmSync(fresh, { recursive: true })
    if (!existsSync(home)) throw error
  }
  return home
}
