/** A restore from a vault into production: nothing is asked of the device, and nothing used up, before its time. */
import { type ArchiveRequest, ArchiveRequestSchema, ArchiveWork, type SignedApproval } from '@antipode/protocol';
import { SomeOperators } from '@antipode/protocol/testing';
import { AntipodeError } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { create } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { archive } from '../../orders/archive.ts';
import { GUARDED_GROUP as GROUP, GuardedSites } from '../../testing/guarded-sites.ts';
import { SimulatedVault } from '../../testing/simulated-vault.ts';
import type { Vault } from '../vault.ts';

const operators = new SomeOperators();
const NO_LIMITS = { losesAtMost: 0, keepsGeneration: 0, withoutHearing: [] };
const SERIAL = '532018';

describe('a restore where operators guard the group', () => {
  let sites: GuardedSites;
  let asked: string[];
  let verdict: 'fits' | 'will fail';
  let isKept: boolean;

  beforeEach(async () => {
    sites = await GuardedSites.make(operators);
    [asked, verdict, isKept] = [[], 'fits', true];
  });
  afterEach(() => sites.close());

  /** A device that is asked for nothing but the steps of a restore. Its answers are those of the test. */
  const vault = (): Vault => {
    const { site } = sites.at('a');
    const { settings } = site.partitions.all[0]!;
    const of = { group: GROUP, epoch: '1', number: '1', digest: sites.newest.digest };
    const said =
      <T>(name: string, answer: T) =>
      async (): Promise<T> => {
        asked.push(name);
        return answer;
      };
    const object = { label: 'ec', handle: '1', type: 'Private Key', uid: '' };
    const kept = { verdict: isKept ? 'complete' : 'partial', why: undefined, code: '', objects: [] } as const;
    const row = { rule: 'space', verdict, found: 'none', source: '', advice: 'Make room.' };
    const simulated = new SimulatedVault(SERIAL, { member: sites.at('a').member, clock: site.clock });
    simulated.settings.partition.name = settings.name;
    return Object.assign(simulated, {
      backups: () => [{ name: 'antipode-1', atMs: 1, state: 'complete' as const, objects: 1, of }],
      manifest: async () => sites.newest,
      driver: {
        ...simulated.driver,
        compareEnds: said('compare', [row]),
        contents: said('contents', { objects: [object] }),
        keepBackups: said('back up', { name: 'safety', backup: kept, deleted: [], due: [], review: undefined }),
        restore: async () => {
          asked.push('restore');
          throw new AntipodeError('LUNA_UNREACHED', 'the test ends here');
        },
      },
    });
  };
  const restore = (...approvals: SignedApproval[]) => {
    const { site } = sites.at('a');
    sites.renew('a', 1n);
    const fence = sites.fence(1n, 'a', approvals);
    const request: ArchiveRequest = create(ArchiveRequestSchema, {
      ...{ archiveId: 'i', vaultSerial: SERIAL, work: ArchiveWork.RESTORE },
    });
    Object.assign(request, { fence: { term: 0n, ...fence } });
    return rejection(archive({ ...site, vaults: [vault()] }, request));
  };
  const approval = (objects: readonly string[]) =>
    operators.sign(
      sites.request({
        ...{ action: 'restore-backup', limits: NO_LIMITS, objects, epochs: { from: 1, to: 1 } },
        partitions: [{ site: 'a', serial: 'a-1', role: 'member', identity: '' }],
      }),
      ['alice', 'bob', 'carol'],
    );
  const uses = () => sites.at('a').site.journal.approvals.latest(9).length;

  it('is refused without an approval, and with one for another backup, before anything is asked', async () => {
    expect((await restore()).code).toBe('APPROVAL_REQUIRED');
    expect((await restore(approval(['ab'.repeat(32)]))).code).toBe('APPROVAL_MISMATCH');
    expect([asked, uses()]).toEqual([[], 0]);
  });

  it('uses no approval up where the preflight knows that it will fail', async () => {
    verdict = 'will fail';
    expect((await restore(approval([sites.newest.digest]))).code).toBe('LUNA_REFUSED');
    expect([asked, uses()]).toEqual([['compare'], 0]);
  });

  it('restores nothing where the objects that are there cannot be backed up first', async () => {
    isKept = false;
    expect((await restore(approval([sites.newest.digest]))).code).toBe('LUNA_REFUSED');
    expect([asked, uses()]).toEqual([['compare', 'contents', 'back up'], 0]);
  });

  it('uses the approval up right before it restores', async () => {
    expect((await restore(approval([sites.newest.digest]))).code).toBe('LUNA_UNREACHED');
    expect([asked, uses()]).toEqual([['compare', 'contents', 'back up', 'restore'], 1]);
  });
});
