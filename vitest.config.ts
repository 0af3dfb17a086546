import { defineConfig } from 'vitest/config'

// Tests read the packages' sources by their published names; what npm gets is tested from the packed tarballs.
const conditions = ['@trpc-login/source', 'module', 'node', 'development|production']

// For `npm run coverage` the sources are left to Node itself, which says what it ran of them by their own lines.
const measured = {
  setupFiles: ['packages/tests/support/take-coverage.ts'],
  execArgv: ['--conditions=@trpc-login/source'],
  server: { deps: { external: [/\/packages\/(server|client)\/src\//] } },
}

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
    ...(process.env['NODE_V8_COVERAGE'] === undefined ? {} : measured),
    allowOnly: process.env['CI'] === undefined,
  },
})
