import { cpSync, rmSync } from 'node:fs';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { temporaryFolder } from '../../testing/temporary-folder.ts';
import { Journal } from './journal.ts';

let folder: string;
let journal: Journal;
beforeEach(() => {
  folder = temporaryFolder();
  journal = Journal.open(folder);
  journal.beginRun();
});
afterEach(() => {
  journal.close();
  rmSync(folder, { recursive: true });
});
const restart = (): void => {
  journal.close();
  journal = Journal.open(folder);
  journal.beginRun();
};

it('keeps its id, and tells every run with how many writes it had', () => {
  const { id, runs } = journal.account;
  expect(id).toMatch(/^[0-9a-f]{32}$/);
  expect(runs).toEqual([{ token: expect.stringMatching(/^[0-9a-f]{16}$/), writes: 1n }]);
  journal.tenure.setSeat('g', 's1', 'active');
  journal.intents.stage({ group: 'g', serial: 's1' }, { digest: 'aa', objectIds: ['01'] });
  restart();
  expect(journal.account).toEqual({
    id,
    runs: [
      { token: runs[0]?.token, writes: 3n },
      { token: expect.any(String), writes: 1n },
    ],
  });
});

it('of a folder that was only read has begun no run', () => {
  const before = journal.account.runs.length;
  const reader = Journal.open(folder);
  reader.tenure.seats();
  expect(reader.account.runs).toHaveLength(before);
  reader.close();
});

it('an older copy lacks the run, or the writes, that were heard of the real one', () => {
  journal.tenure.setSeat('g', 's1', 'active');
  const copy = `${folder}-copy`;
  cpSync(folder, copy, { recursive: true });
  journal.heads.set({ group: 'g', serial: 's1' }, 'captured', 'aa');
  const heard = journal.account.runs.at(-1)!;
  const older = Journal.open(copy);
  older.beginRun();
  const known = older.account.runs.find(({ token }) => token === heard.token);
  expect(known!.writes).toBeLessThan(heard.writes);
  older.close();
  restart();
  const later = journal.account.runs.at(-1)!;
  const again = Journal.open(copy);
  expect(again.account.runs.some(({ token }) => token === later.token)).toBe(false);
  again.close();
  rmSync(copy, { recursive: true });
});

it('tells no more runs than a heartbeat should carry, the one under way last', () => {
  for (let run = 0; run < 70; run += 1) restart();
  const { runs } = journal.account;
  expect(runs).toHaveLength(64);
  journal.tenure.setSeat('g', 's1', 'active');
  expect(journal.account.runs.at(-1)?.writes).toBe(2n);
});

it('remembers a quarantine with its first reason, until the group is reseated', () => {
  journal.tenure.setQuarantine('g', 'first');
  journal.tenure.setQuarantine('g', 'second');
  restart();
  expect([journal.tenure.quarantine('g'), journal.tenure.quarantine('other')]).toEqual(['first', undefined]);
  expect(journal.tenure.quarantined()).toEqual([{ group: 'g', reason: 'first' }]);
  const fence = { epoch: 3n, owner: 'a' };
  journal.tenure.reseat({ group: 'g', fence, serial: 's1', role: 'active', head: { kind: 'captured', digest: 'bb' } });
  expect([
    journal.tenure.quarantine('g'),
    journal.tenure.fence('g'),
    journal.tenure.seat('g')?.role,
    journal.heads.of({ group: 'g', serial: 's1' }, 'captured'),
  ]).toEqual([undefined, fence, 'active', 'bb']);
});

it('tells where each run had its folder: a copy has another place', () => {
  const copy = `${folder}-copy`;
  restart();
  journal.close();
  journal = Journal.open(folder);
  journal.beginRun({ place: 'here' });
  cpSync(folder, copy, { recursive: true });
  const copied = Journal.open(copy);
  copied.beginRun({ place: 'there' });
  expect(copied.account.runs.slice(-3).map(({ place }) => place)).toEqual([undefined, 'here', 'there']);
  copied.close();
  rmSync(copy, { recursive: true });
});
