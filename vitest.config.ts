import { defineConfig } from 'vitest/config'

// Tests read the packages' sources by their published names; what npm gets is tested from the packed tarballs.
const conditions = ['@trpc-login/source', 'module', 'node', 'development|production']

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  // The global set-up is loaded in an environment of its own, which takes neither of the two above.
  environments: { __vitest__: { resolve: { conditions } } },
  test: {
    include: ['packages/tests/**/*.test.ts'],
    reporters: ['default', './scripts/count-reporter.mjs'],
    globalSetup: ['packages/tests/support/complete-setup.ts', 'packages/tests/support/postgres-setup.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    pool: 'forks',
    maxWorkers: 2,
    allowOnly: process.env['CI'] === undefined,
  },
})
