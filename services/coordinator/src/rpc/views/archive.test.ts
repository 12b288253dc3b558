import { NO_PROOF } from '@antipode/protocol';
import { describe, expect, it } from 'vitest';
import type { ArchiveRunRecord, ArchiveStanding } from '../../store/tables/evidence/archives.ts';
import { groupOf, SPEC } from '../../testing/group.ts';
import { siteView } from '../../testing/site-views.ts';
import { archiveMessage } from './archive.ts';

const NOW_MS = Date.UTC(2026, 5, 30);
const DAY_MS = 86_400_000;
const VAULT = { site: 'a', serial: '532018' };
const run = (daysAgo: number, rest: Partial<ArchiveRunRecord> = {}): ArchiveRunRecord => ({
  ...{ id: `${daysAgo}`, group: 'payments', ...VAULT, work: 'backup', backup: 'antipode-1', epoch: 1n, number: 4n },
  ...{ verdict: 'complete', errorCode: '', objects: 5, startedMs: NOW_MS - daysAgo * DAY_MS, proof: NO_PROOF },
  ...{ evidence: '{}', signature: new Uint8Array(), signer: new Uint8Array() },
  ...rest,
});
const shown = (standing: Partial<ArchiveStanding>, spoilt: readonly string[] = []) =>
  archiveMessage(
    {
      group: groupOf(SPEC),
      view: (site) =>
        siteView(site, {
          vaults: [{ name: 'vault', serial: VAULT.serial, backups: spoilt.map((name) => ({ name, spoilt: true })) }],
        }),
      nowMs: NOW_MS,
    },
    { ...VAULT, complete: undefined, attempt: undefined, proven: undefined, ...standing },
  );

describe('a vault', () => {
  it('is current until its next backup is due, and is asked for some days before', () => {
    const complete = run(2);
    expect(shown({ complete, attempt: complete })).toMatchObject({
      ...{ state: 'current', name: 'vault', backup: 'antipode-1', generation: { epoch: 1n, generation: 4n } },
      ...{ ageMs: BigInt(2 * DAY_MS), dueInMs: BigInt(5 * DAY_MS), reminder: '', lastFailure: '' },
    });
    expect(shown({ complete: run(5), attempt: run(5) }).reminder).toBe(
      'Due in 2 days: have the vault at site a by then.',
    );
  });

  it('is late after weeks offline and never lost: what it has is shown as before', () => {
    const attempt = run(0, { id: 'later', verdict: '', errorCode: 'PARTITION_NOT_FOUND', backup: '', number: 0n });
    expect(shown({ complete: run(42), attempt, proven: run(90, { work: 'drill' }) })).toMatchObject({
      ...{ state: 'late', backup: 'antipode-1', generation: { generation: 4n }, dueInMs: 0n },
      ...{ proven: { generation: 4n }, provenAgeMs: BigInt(90 * DAY_MS), lastFailure: 'PARTITION_NOT_FOUND' },
      reminder: 'Due since 35 days. Attach the vault at site a; the backup then begins by itself.',
    });
  });

  it('names what went wrong, if that is more than its absence', () => {
    const attempt = run(0, { id: 'later', verdict: '', errorCode: 'PIN_REFUSED' });
    expect(shown({ complete: run(8), attempt }).reminder).toBe(
      'Due since 24 hours. The last attempt ended with PIN_REFUSED.',
    );
    expect(shown({})).toMatchObject({ state: 'empty', dueInMs: 0n, reminder: expect.stringContaining('No complete') });
  });

  it('is late, and not current, once it was seen without its newest backup', () => {
    const complete = run(2);
    expect(shown({ complete, attempt: complete }, ['antipode-1'])).toMatchObject({
      ...{ state: 'late', dueInMs: 0n, backup: 'antipode-1' },
      reminder: expect.stringContaining('does not have backup antipode-1 any more'),
    });
    expect(shown({ complete, attempt: complete }, ['antipode-0'])).toMatchObject({ state: 'current', reminder: '' });
  });
});
