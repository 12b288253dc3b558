/** The last words of a run, plain and on a line of their own, so that any program that reads the output can count. */
import type { Reporter, TestModule } from 'vitest/node';

export class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const { state } = test.result();
        if (state !== 'pending') counts[state] += 1;
      }
      // A file that does not even load has no test that could fail.
      if (module.state() === 'failed' && [...module.children.allTests('failed')].length === 0) counts.failed += 1;
    }
    const { passed, skipped } = counts;
    process.stdout.write(`\n${passed} passed, ${counts.failed + errors.length} failed, ${skipped} skipped\n`);
  }
}
