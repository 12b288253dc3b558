/**
 * How long the steps of a change will take, by what the same steps took in this group last time. A step that was never
 * seen there is not known, and nothing is estimated for it. Pure.
 */
import type { ExpectedDurationSchema } from '@antipode/protocol';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Generation } from '../../model.ts';
import type { Intent } from '../../store/tables/intents.ts';
import type { GroupChange } from './change.ts';

type ExpectedDuration = MessageInitShape<typeof ExpectedDurationSchema>;

/** Operations of the group that ended well, the newest first. */
export interface PastOperations {
  readonly domainKeys: readonly Intent[];
  readonly captures: readonly Intent[];
  readonly replications: readonly Intent[];
}

export interface DurationFacts {
  readonly past: PastOperations;
  readonly newest: Generation | undefined;
  readonly heartbeatMs: number;
  /** Converts a moment on record to the wall-clock time that people see. */
  readonly toWallMs: (ms: number) => number;
}

/** An operation that sealed or restored nearly everything counts for one that does it to everything. */
const NEARLY_ALL = 0.9;

export function durationsOf(change: GroupChange, facts: DurationFacts): ExpectedDuration[] {
  switch (change.kind) {
    case 'settings':
    case 'add-witness':
    case 'remove-witness':
    case 'archives':
      return [atOnce('the declaration is in force', 'written by this order')];
    case 'delete':
      return [
        atOnce('the group is deleted', 'written by this order'),
        {
          step: 'the agents give up their seats',
          ms: BigInt(facts.heartbeatMs),
          source: 'the heartbeat interval of the timing profile; a site that is away does it when it is back',
        },
      ];
    case 'add-member':
    case 'remove-member':
    case 'scratch':
      return rekeying(facts);
  }
}

const atOnce = (step: string, source: string): ExpectedDuration => ({ step, ms: 0n, source });

/** The new domain key, the capture that seals everything under it, and the standbys that read it back side by side. */
function rekeying({ past, newest, toWallMs }: DurationFacts): ExpectedDuration[] {
  const objects = newest?.objectCount ?? 0;
  const isWhole = (intent: Intent): boolean => countOf(intent) >= objects * NEARLY_ALL && countOf(intent) > 0;
  const bySite = new Map<string, Intent>();
  for (const intent of past.replications)
    if (isWhole(intent) && !bySite.has(intent.site)) bySite.set(intent.site, intent);
  const slowest = [...bySite.values()].sort((one, other) => tookMs(other) - tookMs(one))[0];
  const measured = (step: string, intent: Intent | undefined, what: string): ExpectedDuration => {
    if (intent === undefined) return { step, source: 'this group has no such operation on record' };
    const count = what === '' ? '' : `, ${countOf(intent)} ${what}`;
    const at = new Date(toWallMs(intent.createdMs)).toISOString();
    return {
      step,
      ms: BigInt(tookMs(intent)),
      source: `measured: operation ${intent.id.slice(0, 8)} of ${at}${count}`,
    };
  };
  const steps = [
    measured('a new domain key reaches every partition', past.domainKeys[0], ''),
    measured('a capture seals everything again', past.captures.find(isWhole), 'objects sealed'),
    measured('every standby restores and reads back everything', slowest, 'objects restored at the slowest site'),
  ];
  const known = steps.flatMap(({ ms }) => (ms === undefined || ms === null ? [] : [ms]));
  if (known.length < steps.length) return steps;
  const whole = known.reduce((sum, ms) => sum + ms, 0n);
  return [...steps, { step: 'all of it', ms: whole, source: 'the sum of the above' }];
}

const tookMs = ({ createdMs, updatedMs }: Intent): number => Math.max(0, updatedMs - createdMs);

function countOf({ state }: Intent): number {
  const { sealedObjects, appliedObjects } = state as { sealedObjects?: number; appliedObjects?: number };
  return sealedObjects ?? appliedObjects ?? 0;
}
