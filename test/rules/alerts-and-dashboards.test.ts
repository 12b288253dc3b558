/** Alert rules and dashboards: their metrics and labels are declared, and their links lead somewhere. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { alertRules, dashboards, millisecondsOf, queriesOf, undeclaredIn } from '../support/alert-rules.ts';
import { read, root } from './support/tree.ts';

const rules = alertRules();

describe('the alert rules', () => {
  it('use declared metrics and labels only', () => {
    expect(rules.length).toBeGreaterThan(30);
    const faults = rules.flatMap(({ alert, expr, annotations }) =>
      undeclaredIn({ expr, legend: Object.values(annotations).join(' ').replaceAll('$labels.', '') }).map(
        (fault) => `${alert}: ${fault}`,
      ),
    );
    expect(faults).toEqual([]);
  });

  it.each(rules.map((rule) => [rule.alert, rule] as const))('%s says how bad it is and what to do', (alert, rule) => {
    expect(alert).toMatch(/^Antipode[A-Z]/);
    expect(rule.labels).toEqual({ severity: expect.stringMatching(/^(page|ticket|info)$/) });
    if (rule.for !== undefined) expect(millisecondsOf(rule.for)).toBeGreaterThan(0);
    const { summary, description, runbook_url: runbook } = rule.annotations;
    expect([summary.endsWith('.'), description.endsWith('.')]).toEqual([true, true]);
    const [path = '', anchor] = runbook.split('#');
    expect([runbook, existsSync(join(root, path))]).toEqual([runbook, true]);
    if (anchor === undefined) return expect(path).toMatch(/^docs\/runbooks\//);
    const headings = [...read(path).source.matchAll(/^#+ (.*)$/gm)].map(([, text]) => anchorOf(text!));
    expect(headings).toContain(anchor);
  });

  it('have names of their own', () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
  });
});

describe('the dashboards', () => {
  it('are four, with identifiers that stay when they are imported again', () => {
    expect(dashboards().map(({ file, uid }) => [file, uid])).toEqual([
      ['fleet.json', 'antipode-fleet'],
      ['group.json', 'antipode-group'],
      ['hsm.json', 'antipode-hsm'],
      ['site.json', 'antipode-site'],
    ]);
  });

  it.each(dashboards().map((one) => [one.file, one] as const))(
    '%s uses declared metrics and labels only',
    (_file, one) => {
      const queries = queriesOf(one);
      expect(queries.length).toBeGreaterThan(5);
      expect(queries.flatMap((query) => undeclaredIn(query).map((fault) => `${query.from}: ${fault}`))).toEqual([]);
      const variables = one.templating.list.map(({ name }) => name);
      const named = queries.flatMap(({ expr }) => [...expr.matchAll(/\$([a-z]+)/g)].map(([, name]) => name!));
      expect([...new Set(named)].filter((name) => !variables.includes(name))).toEqual([]);
    },
  );
});

describe('what is declared', () => {
  it.each([
    ['max by (group) (antipode_group_protection{state="held"})', '{{group}}', []],
    ['rate(antipode_hsm_call_duration_seconds_bucket[5m])', '{{function}} {{le}}', []],
    ['up{job="antipode"} == 0', '{{instance}}', []],
    ['antipode_group_protected', '', ['antipode_group_protected']],
    ['antipode_group_protection{site="a"}', '', ['antipode_group_protection{site}']],
    ['sum by (site) (antipode_group_protection)', '', ['site']],
    ['antipode_queue_up', '{{group}}', ['group']],
    // Prometheus has its buckets, sum and count, and nothing under the name itself.
    ['antipode_hsm_call_duration_seconds', '', ['antipode_hsm_call_duration_seconds']],
    ['vector(1)', '', ['no metric in vector(1)']],
  ])('%s with legend "%s" lacks %j', (expr, legend, faults) => {
    expect(undeclaredIn({ expr, legend })).toEqual(faults);
  });
});

const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^a-z0-9 -]/g, '')
    .replaceAll(' ', '-');
