/** Every alert has a live test in which its cause is made. */
import { describe, expect, it } from 'vitest';
import { alertRules } from '../support/alert-rules.ts';
import { sources } from './support/tree.ts';

const tests = sources({ under: ['test/'], endings: ['.int.test.ts', '.chaos.test.ts'] });
const raising = new Map(
  tests.map(({ path, source }) => [path, alertsRaisedIn(source)] as const).filter(([, alerts]) => alerts.length > 0),
);

describe('live causes of alerts', () => {
  it('are in a test for every alert', () => {
    const raised = new Set([...raising.values()].flat());
    expect([...raised].sort()).toEqual(
      alertRules()
        .map(({ alert }) => alert)
        .sort(),
    );
  });

  it('are asserted against a Prometheus that scrapes the processes', () => {
    for (const path of raising.keys())
      expect([path, sourceOf(path).includes('LiveAlerts.watch(')]).toEqual([path, true]);
  });

  it.each([
    ["await alerts.raised(() => system.stopAgent('c'), 'AntipodeSiteDown', 'AntipodeProcessDown');", 2],
    ["await alerts.raised(\n  async () => {\n    await stop(')');\n  },\n  'AntipodeSiteDown',\n);", 1],
    ["await alerts.resolved(() => system.startAgent('c'), 'AntipodeSiteDown');", 0],
    ["const quiet = ['AntipodeSiteDown'];", 0],
  ])('are read from %j', (source, count) => {
    expect(alertsRaisedIn(source)).toHaveLength(count);
  });
});

function sourceOf(path: string): string {
  return tests.find((one) => one.path === path)!.source;
}

/** Names of alerts among the arguments of every call of `raised`. */
function alertsRaisedIn(source: string): string[] {
  return source
    .split('.raised(')
    .slice(1)
    .flatMap((rest) => [...argumentsIn(rest).matchAll(/'(Antipode[A-Za-z]+)'/g)].map(([, name]) => name!));
}

/** Up to the parenthesis that closes the call. Those in strings do not count. */
function argumentsIn(rest: string): string {
  let depth = 1;
  for (const { 0: found, index } of rest.matchAll(/'[^'\n]*'|"[^"\n]*"|`[^`]*`|[()]/g)) {
    if (found === '(') depth += 1;
    if (found === ')') depth -= 1;
    if (depth === 0) return rest.slice(0, index);
  }
  return rest;
}
