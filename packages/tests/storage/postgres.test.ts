import { postgresStorage } from '@trpc-login/server'
import { describe } from 'vitest'
import { createDatabase } from '../support/postgres.ts'
import { storageTests } from './conformance.ts'

for (const changes of ['listen', 'poll']) {
  describe(`PostgreSQL with changes=${changes}`, () => {
    storageTests(async () => {
      const database = await createDatabase()
      const storage = postgresStorage({ url: `${database.url}?changes=${changes}` })
      return {
        ...storage,
        [Symbol.asyncDispose]: async () => {
          await storage.close()
          await database[Symbol.asyncDispose]()
        },
      }
    })
  })
}
