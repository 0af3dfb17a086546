import { postgresStorage } from '@trpc-login/server'
import type { TestProject } from 'vitest/node'
import { makeDatabase } from './postgres-database.ts'
import { createPostgresServer } from './postgres-server.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Of a database in which the tests may make others. */
    postgresUrl: string
    /** The name of one with the schema in it, to copy. */
    postgresTemplate: string
    /** Whether it is removed whole after the run, so that nobody need tidy up in it. */
    postgresIsOwn: boolean
  }
}

/** One PostgreSQL for the whole run: that of the environment, or one made here. Without it there is no run. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env['TRPC_LOGIN_TEST_POSTGRES_URL']
  delete process.env['TRPC_LOGIN_TEST_POSTGRES_URL']
  const server = given === undefined ? await createPostgresServer() : null
  const url = given ?? server?.url('postgres') ?? ''
  const template = await makeDatabase(url)
  const storage = postgresStorage({ url: template.url })
  await storage.migrate()
  await storage.close()
  project.provide('postgresUrl', url)
  project.provide('postgresTemplate', template.name)
  project.provide('postgresIsOwn', server !== null)
  return async () => {
    if (server === null) await template.drop()
    else await server.remove()
  }
}
