import { mkdtempSync, rmSync } from 'node:fs'
import { createServer as createPageServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import type { Browser } from 'playwright-core'
import { developmentTls } from '../../server/src/http/development-tls.ts'

/** A page of the application's own, beside the API on another port of one host, or elsewhere; `script` is served to it. */
export async function openPage(browser: Browser, host: string, script: string) {
  const dir = mkdtempSync(join(tmpdir(), 'trpc-login-page-'))
  const { cert, key } = await developmentTls(dir, '127.0.0.1', Date.now())
  const pages = createPageServer({ cert, key }, (req, res) => {
    res.setHeader('content-type', req.url === '/sdk.js' ? 'text/javascript' : 'text/html; charset=utf-8')
    res.end(req.url === '/sdk.js' ? script : '<!doctype html><title>app</title><script src="/sdk.js"></script>')
  })
  await new Promise<void>((resolve) => void pages.listen(0, '127.0.0.1', resolve))
  const origin = `https://${host}:${(pages.address() as AddressInfo).port}`
  const context = await browser.newContext({ ignoreHTTPSErrors: true })
  const page = await context.newPage()
  return {
    origin,
    context,
    async open() {
      await page.goto(origin)
      return page
    },
    async [Symbol.asyncDispose]() {
      await context.close()
      pages.closeAllConnections()
      pages.close()
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** The SDK as an application's bundler would build it for a page. */
export async function bundleSdk(): Promise<string> {
  const result = await build({
    stdin: { contents: "export { createClient, reasonOf } from '@trpc-login/client'", resolveDir: import.meta.dirname, loader: 'ts' },
    bundle: true,
    write: false,
    minify: true,
    format: 'iife',
    globalName: 'sdk',
    platform: 'browser',
    conditions: ['@trpc-login/source'],
  })
  return result.outputFiles[0]?.text ?? ''
}
