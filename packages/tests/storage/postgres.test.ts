import { postgresStorage } from '@trpc-login/server'
import { afterAll, beforeAll, describe } from 'vitest'
import { createDatabase, type TestDatabase } from '../support/postgres.ts'
import { storageTests } from './conformance.ts'

describe('PostgreSQL', () => {
  let database: TestDatabase
  beforeAll(async () => {
    database = await createDatabase()
  })
  afterAll(() => database[Symbol.asyncDispose]())

  storageTests(async () => {
    await database.clear()
    const storage = postgresStorage({ url: database.url })
    return { ...storage, [Symbol.asyncDispose]: storage.close }
  })
})
