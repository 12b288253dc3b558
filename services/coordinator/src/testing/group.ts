/** A group of three sites, as an operator declared it. */
import type { Group, GroupSpec } from '../model.ts';

export const SPEC: GroupSpec = {
  name: 'payments',
  members: ['a', 'b', 'c'].map((site) => ({ site, serial: `serial-${site}` })),
  scratch: [{ site: 'c', serial: 'scratch-c' }],
  filter: { excludeIds: [], excludeLabels: [], excludeClasses: [] },
  rpoMs: 300_000,
  drillCron: '',
  scrubMs: 604_800_000,
  failoverPolicy: 'automatic',
};

/** The group as it is right after its declaration. */
export function groupOf(spec: GroupSpec): Group {
  return {
    spec,
    members: spec.members.map((seat, at) => ({
      ...seat,
      role: at === 0 ? 'active' : 'standby',
      divergent: 0,
      unaccounted: 0,
    })),
    epoch: 1n,
    owner: spec.members[0]!.site,
    highestEpoch: 1n,
    highestOwner: spec.members[0]!.site,
    domainKeyVersion: 0,
    highestVersion: 0,
    rotateAbove: 0,
    firstEpoch: 1n,
    joining: [],
    recoveryTimeMs: undefined,
    createdMs: 0,
    revision: 1,
  };
}
