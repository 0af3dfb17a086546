import { chmodSync } from 'node:fs'
import { dirname } from 'node:path'
import { sqliteStorage } from '@trpc-login/server'

// Opens a database without the right to write it, whoever runs this.
const path = process.argv[2] ?? ''
chmodSync(path, 0o400)
chmodSync(dirname(path), 0o755)
if (process.getuid?.() === 0) process.setuid?.(65_534)
try {
  await sqliteStorage({ path }).schema()
} catch (error) {
  process.stdout.write((error as Error).message)
}
