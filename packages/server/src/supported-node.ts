const FLOOR = [24, 15] as const

/** Says what is wrong where this Node is too old for the package; other runtimes give themselves versions of their own. */
export function complaintAboutNode(versions: Readonly<Record<string, string | undefined>> = process.versions): string | null {
  if (versions['bun'] !== undefined || versions['deno'] !== undefined) return null
  const [major = 0, minor = 0] = (versions['node'] ?? '').split('.').map(Number)
  if (major > FLOOR[0] || (major === FLOOR[0] && minor >= FLOOR[1])) return null
  return `@trpc-login/server needs Node ${FLOOR.join('.')} or newer; this is ${versions['node']}`
}
