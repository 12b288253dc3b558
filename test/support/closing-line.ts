/**
 * The last words of a run, plain and on a line of their own, so that any program that reads the output can count. Before
 * them, why tests were skipped.
 */
import type { Reporter, TestModule } from 'vitest/node';

export class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const reasons = new Map<string, number>();
    const counts = { passed: 0, failed: 0, skipped: 0 };
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state !== 'pending') counts[result.state] += 1;
        if (result.state !== 'skipped') continue;
        const reason = result.note ?? `${module.relativeModuleId} says no reason`;
        reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      }
      // A file that does not even load has no test that could fail.
      if (module.state() === 'failed' && [...module.children.allTests('failed')].length === 0) counts.failed += 1;
    }
    for (const [reason, count] of reasons) process.stdout.write(`skipped (${count}): ${reason}\n`);
    const { passed, skipped } = counts;
    process.stdout.write(`\n${passed} passed, ${counts.failed + errors.length} failed, ${skipped} skipped\n`);
  }
}
