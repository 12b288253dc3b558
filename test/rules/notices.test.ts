/** The notices of the coordinator and the alert rules for Prometheus say the same of the same cause. */
import { NOTICES, type NoticeDeclaration } from '@antipode/coordinator/testing';
import { describe, expect, it } from 'vitest';
import { alertRules, millisecondsOf } from '../support/alert-rules.ts';
import { read } from './support/tree.ts';

const all = Object.entries(NOTICES) as [string, NoticeDeclaration][];
const rules = alertRules();
const page = read('docs/howto/notifications.md').source;

/** Alerts without a notice, and why. */
const METRICS_ONLY: Readonly<Record<string, string>> = {
  AntipodeHsmErrors: 'a rate of return values, which only Prometheus knows',
  AntipodeHsmSlow: 'a quantile of a histogram, which only Prometheus knows',
  AntipodeOrdersWait: 'a queue at a site, which the site itself measures',
  AntipodeLeaseOver: 'the site itself knows it, also without a coordinator',
  AntipodeCoordinatorSilent: 'the coordinator that is silent cannot tell: the heartbeat does',
  AntipodeRevocationListsDiffer: 'a comparison of all processes, which only Prometheus sees',
  AntipodeRevokedCertificateUsed: 'a count that each process has for itself',
  AntipodePeerUnreached: 'a path between two sites, which the sites measure',
  AntipodeClockOff: 'an offset that the sites measure',
  AntipodeNoLeader: 'no coordinator is there to tell: the heartbeat does',
  AntipodeTwoLeaders: 'a leader does not see another one',
  AntipodeOperationsStuck: 'the kind of operation, over all groups',
  AntipodeProcessDown: 'a scrape, which Prometheus makes',
  AntipodeMetricsUnknown: 'a scrape, which Prometheus makes',
  AntipodeCertificateRefused: 'a file at a machine, which its own process reads',
  AntipodeEventLoopLate: 'a process that is late, by its own account',
  AntipodeVersionsDiffer: 'an upgrade is no news to those who make it',
};

describe('the notices', () => {
  it('and the alert rules have the same causes, or a reason not to', () => {
    const linked = all.flatMap(([, { alert }]) => (alert === undefined ? [] : [alert]));
    expect([...linked, ...Object.keys(METRICS_ONLY)].sort()).toEqual(rules.map(({ alert }) => alert).sort());
  });

  it.each(all.filter(([, { alert }]) => alert !== undefined))(
    '%s has severity, wait and runbook of its alert',
    (_kind, { alert, severity, waitMs, runbook }) => {
      const rule = rules.find((one) => one.alert === alert)!;
      expect([severity, waitMs, runbook]).toEqual([
        rule.labels['severity'],
        rule.for === undefined ? 0 : millisecondsOf(rule.for),
        rule.annotations.runbook_url,
      ]);
    },
  );

  it.each(all)('%s has a runbook that is there', (_kind, { runbook }) => {
    const [path = '', anchor] = runbook.split('#');
    const { source } = read(path);
    if (anchor === undefined) return;
    const headings = [...source.matchAll(/^#+ (.*)$/gm)].map(([, text]) => text!.toLowerCase().replaceAll(' ', '-'));
    expect(headings).toContain(anchor);
  });

  it('are on the page for operators, each with its severity', () => {
    const rows = [...page.matchAll(/^\| `([a-z-]+)` +\| (page|ticket|info) +\|/gm)].map(([, kind, severity]) => [
      kind,
      severity,
    ]);
    expect(rows.sort()).toEqual(all.map(([kind, { severity }]) => [kind, severity]).sort());
  });

  it('have no place for the label of a key, an object or a PIN', () => {
    const names = new Set(all.flatMap(([, { text }]) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!)));
    expect([...names].sort()).toEqual(['code', 'group', 'name', 'partition', 'site', 'subject', 'words']);
  });
});
