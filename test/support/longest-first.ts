/** The order of test files: those that take long begin first, so that none of them runs alone at the end. */
import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files in test/ that take more than ten seconds on an idle machine, the longest first. */
export const LONGEST: readonly string[] = [
  'integration/system/previous-release.int.test.ts',
  'integration/terraform/three-sites.int.test.ts',
  'integration/system/group-change-faults.int.test.ts',
  'integration/system/archive-kills.int.test.ts',
  'integration/system/archive.int.test.ts',
  'integration/system/runbooks.int.test.ts',
  'integration/system/native-luna.int.test.ts',
  'integration/system/native-luna-failover.int.test.ts',
  'integration/system/runbooks-of-backups.int.test.ts',
  'integration/system/cli.int.test.ts',
  'integration/system/luna-demo.int.test.ts',
  'integration/package/package.int.test.ts',
  'integration/bench/bench.int.test.ts',
  'chaos/hsm/kill.chaos.test.ts',
  'chaos/soak/soak.chaos.test.ts',
  'chaos/live/campaign.chaos.test.ts',
  'integration/tokens/exact-secrets.int.test.ts',
  'integration/site/process-life.int.test.ts',
  'integration/system/group-lifetime.int.test.ts',
  'chaos/live/failover-target.chaos.test.ts',
  'chaos/live/database-limits.chaos.test.ts',
  'integration/system/move-identity.int.test.ts',
  'integration/hsm-core/damaged-parts.int.test.ts',
  'integration/luna/cloner.int.test.ts',
  'integration/luna/doctor.int.test.ts',
  'integration/luna/copy-faults.int.test.ts',
  'chaos/live/long-links.chaos.test.ts',
  'chaos/live/failover-wait.chaos.test.ts',
  'integration/system/coordinator-backup.int.test.ts',
  'integration/system/rebuild.int.test.ts',
  'integration/system/monitoring.int.test.ts',
  'integration/system/cut-links.int.test.ts',
  'integration/coordinator/backup.int.test.ts',
  'integration/coordinator/coordinator-lost.int.test.ts',
  'chaos/mutants.chaos.test.ts',
  'integration/system/system.int.test.ts',
  'chaos/live/journals.chaos.test.ts',
  'integration/tokens/trusted-key.int.test.ts',
  'integration/tokens/provider-conformance.int.test.ts',
  'integration/system/applications.int.test.ts',
  'integration/hsm-core/crash.int.test.ts',
  'integration/tokens/every-object.int.test.ts',
  'integration/system/deletions.int.test.ts',
  'integration/system/shared-names.int.test.ts',
  'integration/system/refused-objects.int.test.ts',
  'integration/coordinator/resolve-stall.int.test.ts',
  'integration/hsm-core/own-objects.int.test.ts',
  'integration/system/witness.int.test.ts',
  'chaos/live/cut-operator.chaos.test.ts',
  'chaos/live/acknowledged-move.chaos.test.ts',
  'integration/system/coordinators.int.test.ts',
  'integration/tokens/hsm-session.int.test.ts',
  'integration/site/certificate-renewal.int.test.ts',
  'integration/site/partition-check.int.test.ts',
  'integration/system/trusted-system.int.test.ts',
  'chaos/live/copied-folder.chaos.test.ts',
  'integration/tokens/no-pin.int.test.ts',
  'integration/hsm-core/names.int.test.ts',
  'integration/hsm-core/hsm-core.int.test.ts',
  'integration/hsm-core/replaced-keys.int.test.ts',
  'integration/site/partitions.int.test.ts',
  'integration/site/hints.int.test.ts',
  'integration/tokens/made-keys.int.test.ts',
  'integration/tokens/curves.int.test.ts',
  'integration/hsm-core/worker.int.test.ts',
  'integration/hsm-core/capture.int.test.ts',
  'integration/tokens/nss.int.test.ts',
  'integration/hsm-core/odd-objects.int.test.ts',
  'chaos/live/failover.chaos.test.ts',
  'attacks/token.attack.test.ts',
  'integration/site/doctor.int.test.ts',
  'chaos/live/locked-journal.chaos.test.ts',
  'integration/tokens/softhsm-traps.int.test.ts',
  'chaos/simulator.chaos.test.ts',
  'chaos/live/cancel-move.chaos.test.ts',
];

const rankOf = ({ moduleId }: TestSpecification): number => {
  const at = LONGEST.findIndex((path) => moduleId.endsWith(`/test/${path}`));
  return at === -1 ? LONGEST.length : at;
};

export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    return sorted.toSorted((one, other) => rankOf(one) - rankOf(other));
  }
}
