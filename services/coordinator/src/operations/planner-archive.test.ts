import { NO_PROOF } from '@antipode/protocol';
import { describe, expect, it } from 'vitest';
import type { ArchiveRunRecord, ArchiveStanding } from '../store/tables/evidence/archives.ts';
import { siteView } from '../testing/site-views.ts';
import { type Case, kinds, NOW_MS, situation, TIMINGS } from '../testing/situation.ts';
import { plan, type Situation } from './planner.ts';

const DAY_MS = 86_400_000;
const run = (agoMs: number, rest: Partial<ArchiveRunRecord> = {}): ArchiveRunRecord => ({
  ...{ id: `${agoMs}`, group: 'payments', site: 'a', serial: '532018', work: 'backup', backup: 'antipode-1' },
  ...{ epoch: 1n, number: 4n, verdict: 'complete', errorCode: '', objects: 5, startedMs: NOW_MS - agoMs },
  ...{ proof: NO_PROOF, evidence: '', signature: new Uint8Array(), signer: new Uint8Array() },
  ...rest,
});
const vault = (rest: Partial<ArchiveStanding> = {}): ArchiveStanding => ({
  ...{ site: 'a', serial: '532018', complete: undefined, attempt: undefined, proven: undefined },
  ...rest,
});
const due = (archives: readonly ArchiveStanding[], one: Case = {}, rest: Partial<Situation> = {}): string[] =>
  kinds(plan(situation(one, { archives, ...rest })));
const away = (agoMs: number): ArchiveRunRecord =>
  run(agoMs, { id: 'later', verdict: '', errorCode: 'PARTITION_NOT_FOUND' });

describe('a backup to a vault is due', () => {
  it('at once if there is no complete one, and after the interval', () => {
    expect(due([vault()])).toEqual(['archive a']);
    const made = (agoMs: number) => vault({ complete: run(agoMs), attempt: run(agoMs) });
    expect(due([made(7 * DAY_MS - 1)])).toEqual([]);
    expect(due([made(7 * DAY_MS)])).toEqual(['archive a']);
  });

  it('at once where the vault was seen without the newest complete one, and then as after every failure', () => {
    const { view } = situation();
    const seen = (spoilt: boolean): Partial<Situation> => ({
      view: (site) => {
        const { state, ...rest } = view(site)!;
        const vaults = [{ serial: '532018', backups: [{ name: 'antipode-1', spoilt }] }];
        return siteView(site, { members: state!.members, partitions: state!.partitions, vaults }, rest);
      },
    });
    const made = vault({ complete: run(DAY_MS), attempt: run(DAY_MS) });
    expect(due([made], {}, seen(false))).toEqual([]);
    expect(due([made], {}, seen(true))).toEqual(['archive a']);
    expect(due([{ ...made, attempt: away(1) }], {}, seen(true))).toEqual([]);
  });

  it('again some pauses after an attempt that found no vault, for as many weeks as it is away', () => {
    const pauseMs = TIMINGS.parkedRetryMs * 10;
    const since = (agoMs: number) => vault({ complete: run(60 * DAY_MS), attempt: away(agoMs) });
    expect(due([since(pauseMs - 1)])).toEqual([]);
    expect(due([since(pauseMs)])).toEqual(['archive a']);
  });

  it('not while its site is not heard, the group is about to move, or nothing was captured', () => {
    expect(due([vault()], { statuses: { a: 'suspect' } })).toEqual([]);
    expect(due([vault()], { group: { highestEpoch: 2n, highestOwner: 'b' } }, {})).not.toContain('archive a');
    expect(due([vault()], {}, { newest: undefined })).not.toContain('archive a');
  });

  it('for one vault of a site at a time, the first that the group names', () => {
    const plans = plan(situation({}, { archives: [vault(), vault({ serial: '532019' })] })).create;
    expect(plans.map(({ state }) => (state as { target?: { serial: string } }).target?.serial)).toEqual(['532018']);
  });
});
