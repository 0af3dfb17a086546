import { sqliteStorage } from '@trpc-login/server'

// Reads a counter that all share and writes what comes next, each in one transaction.
const storage = sqliteStorage({ path: process.argv[2] ?? '' })
let written = 0
for (let i = 0; i < 200; i += 1) {
  await storage.attempts.change(['shared'], (current) => {
    const count = (current.get('shared')?.count ?? 0) + 1
    return new Map([['shared', { count, blockedUntil: 0, expiresAt: 1 }]])
  })
  written += 1
}
await storage.close()
process.stdout.write(String(written))
