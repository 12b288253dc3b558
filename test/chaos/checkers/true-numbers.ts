/**
 * I13: the recovery point that is reported is never better than it is. Every key that was made before it, and still
 * lives, is in the token of every standby that can be promoted. `resolve` names nobody while another member acts.
 */
import type { Checker } from './checker.ts';

/** A report is made at one moment and of the moments before; the key must have been there for as long. */
const SLACK_MS = 1_500;

export const trueNumbers = (): Checker => ({
  invariant: 'I13',
  name: 'true-numbers',
  look: (change, facts) => {
    if (change.kind === 'resolved') {
      const other = facts.members.find(
        ({ site, role, epoch, leaseMs }) =>
          site !== change.site && role === 'active' && leaseMs > 0 && epoch > change.epoch,
      );
      if (!change.isLeader || other === undefined) return undefined;
      return `resolve names site ${change.site} in epoch ${change.epoch}, while site ${other.site} acts in epoch ${other.epoch}`;
    }
    if (change.kind !== 'reported' || change.recoveryPointAgeMs === undefined || facts.isLossAccepted) return undefined;
    const pointMs = facts.nowMs - change.recoveryPointAgeMs - SLACK_MS;
    const standbys = change.members.filter(({ site, role }) => role === 'standby' && !facts.isEmptied(site));
    const active = facts.valuesAt(change.activeSite);
    for (const { site } of standbys) {
      const held = facts.valuesAt(site);
      const missing = facts.keys.find(
        ({ value, madeAtMs, endedAtMs }) =>
          madeAtMs < pointMs && endedAtMs === undefined && active.has(value) && !held.has(value),
      );
      if (missing !== undefined && !facts.refusedAt(site).has(missing.value))
        return `the recovery point is reported to be ${change.recoveryPointAgeMs} ms old, but standby ${site} lacks ${missing.label}, made ${Math.round(facts.nowMs - missing.madeAtMs)} ms ago`;
    }
    return undefined;
  },
});
