import { postgresStorage } from '@trpc-login/server'
import { afterAll, beforeAll, describe } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'
import { storageTests } from './conformance.ts'

for (const changes of ['listen', 'poll']) {
  describe(`PostgreSQL with changes=${changes}`, () => {
    let database: TestDatabase
    beforeAll(async () => {
      database = await createDatabase()
    })
    afterAll(() => database[Symbol.asyncDispose]())

    storageTests(async () => {
      await database.clear()
      const storage = postgresStorage({ url: `${database.url}?changes=${changes}` })
      return { ...storage, [Symbol.asyncDispose]: storage.close }
    })
  })
}
