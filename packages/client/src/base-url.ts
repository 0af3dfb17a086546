const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/

/**
 * Where the procedures are, without a slash at its end.
 * @throws TypeError when it is not a place that a session may be sent to
 */
export function parseBaseUrl(options: { url: string | URL; basePath?: string; allowInsecureLoopback?: boolean }): {
  origin: string
  base: string
} {
  const { basePath, allowInsecureLoopback } = options
  const given = String(options.url)
  const url = URL.parse(given)
  // With a name, a password, a query or a fragment its text goes on where these begin.
  const isPlain = url !== null && url.href === url.origin + url.pathname
  const isSafe = url?.protocol === 'https:' || (url?.protocol === 'http:' && allowInsecureLoopback === true && LOOPBACK.test(url.hostname))
  if (!isPlain || !isSafe)
    throw new TypeError(`url must be like https://example.com or https://example.com/trpc, got ${JSON.stringify(given)}`)
  const { origin, pathname } = url
  if (basePath === undefined) return { origin, base: origin + trimmed(pathname === '/' ? '/api' : pathname) }
  if (pathname !== '/' || !/^\/[^?#]*$/.test(basePath))
    throw new TypeError(`basePath must be like / or /trpc, with a url without a path, got ${JSON.stringify([given, basePath])}`)
  return { origin, base: origin + trimmed(basePath) }
}

function trimmed(path: string): string {
  return path.replace(/\/+$/, '')
}
