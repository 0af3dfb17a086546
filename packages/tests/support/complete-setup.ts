import type { TestProject } from 'vitest/node'

declare module 'vitest' {
  interface ProvidedContext {
    /** Whether a test fails, instead of being skipped, for lack of a program that npm cannot bring. */
    complete: boolean
  }
}

/** Takes the variable out of the environment, because servers refuse names under their prefix that they do not know. */
export default function setup(project: TestProject): void {
  project.provide('complete', process.env['TRPC_LOGIN_TEST_COMPLETE'] !== undefined)
  delete process.env['TRPC_LOGIN_TEST_COMPLETE']
}
