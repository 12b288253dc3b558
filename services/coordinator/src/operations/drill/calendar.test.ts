/** A fire time of a calendar: which drills it makes, in the scratch partition and from the vaults. */
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { type ArchiveRunRecord, recordArchiveRun } from '../../store/tables/evidence/archives.ts';
import { pauseAutomation } from '../../store/tables/groups.ts';
import { testDatabase } from '../../testing/database.ts';
import { SPEC } from '../../testing/group.ts';
import { siteView } from '../../testing/site-views.ts';
import { generation } from '../../testing/situation.ts';
import type { Planned } from '../planner.ts';
import { startDrills } from './calendar.ts';

const database = testDatabase();
const SCRATCH = [{ site: 'c', serial: 'scratch-c' }];
const VAULTS = [
  { site: 'a', serial: 'vault-a' },
  { site: 'b', serial: 'vault-b' },
];

let intended: Planned[];
/** Somebody else's work right before the next drill is made. */
let beforeNext: () => Promise<void>;
/** How often anybody was asked whether a drill is wanted. */
let asked: number;
/** Of each site: the vaults that it tells, and whether they can drill. */
let told: Record<string, { serial: string; hasScratch: boolean }[]>;
let isWanted: boolean;

const fire = () =>
  startDrills(
    {
      store: database.store,
      untilHeard: async () => {},
      detector: {
        isUp: () => true,
        view: (site) => siteView(site, { vaults: told[site] ?? [] }),
      },
      reconciler: {
        intend: async (planned, wanted) => {
          await beforeNext();
          const isMade = wanted === undefined || (await database.rows.write((trx) => wanted(trx, () => {})));
          if (!isMade) return { id: '', isNew: false };
          intended.push(planned);
          return { id: `i${intended.length}`, isNew: true };
        },
      },
    },
    {
      group: 'payments',
      isWanted: async () => {
        asked += 1;
        return isWanted;
      },
    },
  );

const drills = (): string[] =>
  intended.map(({ kind, site, state }) => {
    const { target } = state as { target?: { work: string; serial: string; isScheduled: boolean } };
    return target === undefined ? `${kind} at ${site}` : `${target.work} from ${target.serial} at ${site}`;
  });

const backedUp = (vault: (typeof VAULTS)[number], verdict = 'complete'): Promise<unknown> =>
  database.rows.write((trx) =>
    recordArchiveRun(trx, {
      ...{ id: `run ${vault.serial}`, group: 'payments', ...vault, work: 'backup', backup: 'one', verdict },
      ...{ epoch: 1n, number: 1n, errorCode: verdict === 'complete' ? '' : 'ARCHIVE_INCOMPLETE', objects: 3 },
      ...{ startedMs: Number.MAX_SAFE_INTEGER, evidence: '' },
      ...{ signature: new Uint8Array(), signer: new Uint8Array() },
      proof: { proved: 0, failed: 0, failedObjectIds: [], usesNotExercised: 0 },
    } satisfies ArchiveRunRecord),
  );

async function declare(spec: Partial<typeof SPEC> & { archives?: typeof VAULTS }): Promise<void> {
  await database.rows.group({ spec: { ...SPEC, ...spec } });
  await database.rows.captured([generation({ epoch: 1n, number: 1n, manifestDigest: '1-1' })]);
}

beforeEach(() => {
  [intended, asked, isWanted, beforeNext] = [[], 0, true, async () => {}];
  told = {
    a: [{ serial: 'vault-a', hasScratch: true }],
    b: [{ serial: 'vault-b', hasScratch: true }],
  };
});

it('drills in the scratch partition, and from each vault with a complete backup', async () => {
  await declare({ scratch: SCRATCH, archives: VAULTS });
  for (const vault of VAULTS) await backedUp(vault);
  await fire();
  expect(drills()).toEqual(['drill at c', 'drill from vault-a at a', 'drill from vault-b at b']);
  expect(intended.slice(1).every(({ state }) => JSON.stringify(state).includes('"isScheduled":true'))).toBe(true);
  expect(asked).toBe(1);
});

describe('a person who pauses the group while its drills are made', () => {
  const pause = (): Promise<unknown> =>
    database.rows.write((trx) => pauseAutomation(trx, 'payments', { nowMs: 1, operator: 'olga', reason: '' }));

  it('stops the first of them, and uses no fire time up', async () => {
    await declare({ scratch: SCRATCH, archives: VAULTS });
    for (const vault of VAULTS) await backedUp(vault);
    beforeNext = async () => void (await pause());
    await fire();
    expect([drills(), asked]).toEqual([[], 0]);
  });

  it('stops those that were not made yet', async () => {
    await declare({ scratch: SCRATCH, archives: VAULTS });
    for (const vault of VAULTS) await backedUp(vault);
    beforeNext = async () => void (intended.length === 1 && (await pause()));
    await fire();
    expect(drills()).toEqual(['drill at c']);
  });
});

it('leaves out a vault without a complete backup, without a scratch partition, or that its site does not tell', async () => {
  await declare({ scratch: SCRATCH, archives: VAULTS });
  await backedUp(VAULTS[0]!, 'partial');
  await backedUp(VAULTS[1]!);
  told['b'] = [{ serial: 'vault-b', hasScratch: false }];
  await fire();
  expect(drills()).toEqual(['drill at c']);
  told['b'] = [];
  await fire();
  expect(drills()).toEqual(['drill at c', 'drill at c']);
});

it('drills from vaults alone where the group has no scratch partition', async () => {
  await declare({ scratch: [], archives: VAULTS });
  for (const vault of VAULTS) await backedUp(vault);
  await fire();
  expect(drills()).toEqual(['drill from vault-a at a', 'drill from vault-b at b']);
  // The first of them is asked for, so that one fire time of two coordinators makes one set of drills.
  expect(asked).toBe(1);
});

it.each([
  ['in the scratch partition', SCRATCH],
  ['from a vault', []],
])('makes none of them where the first, %s, is not wanted any more', async (_where, scratch) => {
  await declare({ scratch, archives: VAULTS });
  for (const vault of VAULTS) await backedUp(vault);
  isWanted = false;
  await fire();
  expect(drills()).toEqual([]);
});

it('says why nothing could be started where a group has neither', async () => {
  await declare({ scratch: [] });
  expect((await rejection(fire())).code).toBe('NOT_FOUND');
});
