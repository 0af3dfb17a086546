const FLOOR = [22, 19] as const

// Loaded before what an older Node cannot load, whose errors name neither cause nor remedy. Other runtimes give themselves versions of their own.
const { node = '', bun, deno } = process.versions as Readonly<Record<string, string | undefined>>
const [major = 0, minor = 0] = node.split('.').map(Number)
if (bun === undefined && deno === undefined && (major < FLOOR[0] || (major === FLOOR[0] && minor < FLOOR[1]))) {
  const complaint = `@trpc-login/client needs Node ${FLOOR.join('.')} or newer; this is ${node}`
  // Without a stack: there is nothing to look for.
  throw Object.assign(new Error(complaint), { stack: complaint })
}
