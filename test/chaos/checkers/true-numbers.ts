/**
 * I13: the recovery point that is reported is never better than it is. Every key that was made before it, and still
 * lives, is in the token of every standby that can be promoted. `resolve` names nobody while another member acts.
 */
import type { Checker, Facts } from './checker.ts';

/** A report is made at one moment and of the moments before; the key must have been there for as long. */
const SLACK_MS = 1_500;

export const trueNumbers = (): Checker => {
  /** The newest tenure, and since when its owner has been active. */
  let tenure = { epoch: 0n, sinceMs: 0 };
  /** A key that nobody has acknowledged was beside the line of the group until its site was active again. */
  const joinedMs = ({ isPromised, madeAtMs }: Facts['keys'][number]): number =>
    isPromised ? madeAtMs : Math.max(madeAtMs, tenure.sinceMs);
  return {
    invariant: 'I13',
    name: 'true-numbers',
    look: (change, facts) => {
      if (change.kind === 'journal') {
        const member = facts.members.find(({ site }) => site === change.site);
        if (member?.role === 'active' && member.epoch > tenure.epoch)
          tenure = { epoch: member.epoch, sinceMs: facts.nowMs };
        return undefined;
      }
      if (change.kind === 'resolved') {
        const other = facts.members.find(
          ({ site, role, epoch, leaseMs }) =>
            site !== change.site && role === 'active' && leaseMs > 0 && epoch > change.epoch,
        );
        if (!change.isLeader || other === undefined) return undefined;
        return `resolve names site ${change.site} in epoch ${change.epoch}, while site ${other.site} acts in epoch ${other.epoch}`;
      }
      if (change.kind !== 'reported' || change.recoveryPointAgeMs === undefined || facts.isLossAccepted)
        return undefined;
      const pointMs = facts.nowMs - change.recoveryPointAgeMs - SLACK_MS;
      const standbys = change.members.filter(({ site, role }) => role === 'standby' && !facts.isEmptied(site));
      const active = facts.valuesAt(change.activeSite);
      for (const { site } of standbys) {
        const held = facts.valuesAt(site);
        const missing = facts.keys.find(
          (key) =>
            joinedMs(key) < pointMs && key.endedAtMs === undefined && active.has(key.value) && !held.has(key.value),
        );
        if (missing !== undefined && !facts.refusedAt(site).has(missing.value))
          return `the recovery point is reported to be ${change.recoveryPointAgeMs} ms old, but standby ${site} lacks ${missing.label}, made ${Math.round(facts.nowMs - missing.madeAtMs)} ms ago`;
      }
      return undefined;
    },
  };
};
