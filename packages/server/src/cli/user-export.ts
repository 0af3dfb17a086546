import type { UserRecord } from '../storage/storage.ts'
import { loadConfig } from './config.ts'
import { toRow } from './import-user.ts'
import { withAuth } from './open.ts'
import { toJson } from './output.ts'

const PAGE = 500

/** Writes every user as a line of JSON that `user import` reads, with hashes only where they are asked for. */
export async function exportUsers(options: { withHashes?: boolean }): Promise<void> {
  await withAuth(loadConfig(), async ({ storage }) => {
    for (let after: UserRecord | null = null; ; ) {
      const page: UserRecord[] = await storage.users.list({ search: null, limit: PAGE, after })
      process.stdout.write(page.map((user) => `${toJson(toRow(user, options.withHashes === true))}\n`).join(''))
      after = page.at(-1) ?? null
      if (page.length < PAGE) return
    }
  })
}
