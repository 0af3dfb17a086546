// Ends a run with one line that says how it went: `N passed, N failed`.
export default class CountReporter {
  onTestRunEnd(modules, unhandledErrors, reason) {
    const counts = { passed: 0, failed: unhandledErrors.length, skipped: 0 }
    for (const module of modules) {
      for (const test of module.children.allTests()) counts[test.result().state] += 1
      // A file that could not be loaded has no tests to count, and must not pass for that.
      if (module.state() === 'failed' && module.errors().length > 0) counts.failed += module.errors().length
    }
    if (counts.passed === 0 || (reason !== 'passed' && counts.failed === 0)) counts.failed += 1
    if (counts.failed > 0) process.exitCode = 1
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
    process.once('exit', () => process.stdout.write(`${counts.passed} passed, ${counts.failed} failed${skipped}\n`))
  }
}
