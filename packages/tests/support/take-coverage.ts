import { takeCoverage } from 'node:v8'
import { afterAll } from 'vitest'

// The process of a test file is ended before it would write by itself.
afterAll(() => takeCoverage())
