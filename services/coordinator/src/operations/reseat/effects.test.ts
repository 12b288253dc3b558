/** A group is seated anew by what its members answer: everybody under one new epoch, the active one last. */
import { MemberRole } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { EffectsBench, GROUP, intentOf } from '../../testing/effects-bench.ts';
import { reseat } from './effects.ts';

const database = vi.hoisted(() => ({
  group: undefined as unknown,
  newest: undefined as unknown,
  recorded: [] as string[],
}));
vi.mock(import('../../store/tables/groups.ts'), async (original) => ({
  ...(await original()),
  readGroup: async () => database.group as never,
  readEpochOwners: async () => new Map([[1n, 'a']]),
  insertEpoch: async (_trx, _group, { epoch, owner }) => {
    database.group = { ...(database.group as object), highestEpoch: epoch, highestOwner: owner };
    database.recorded.push(`issued ${epoch} of ${owner}`);
  },
  activateEpoch: async (_trx, _group, { epoch, owner }) => void database.recorded.push(`in force ${epoch} of ${owner}`),
  setRole: async (_trx, _group, site, role) => void database.recorded.push(`${site} ${role}`),
}));
vi.mock(import('../../store/tables/generations.ts'), async (original) => ({
  ...(await original()),
  readNewest: async () => database.newest as never,
  readAcknowledged: async () => [],
  readGeneration: async () => undefined,
  recordCapture: async (_trx, _group, { epoch, number }) => void database.recorded.push(`knows ${number} of ${epoch}`),
}));

let bench: EffectsBench;
const DIGEST = 'ab'.repeat(32);
const ref = (epoch: bigint, generation: bigint) => ({
  epoch,
  generation,
  manifestDigest: fromHex(DIGEST),
  contentDigest: fromHex(DIGEST),
  captureStartedMs: 0n,
});
/** What a member answers, and what its last heartbeat said. */
function member(site: string, seat: object, quarantine = ''): void {
  bench.answers.set(`describe ${site}`, {
    members: [{ group: 'payments', epoch: 1n, epochOwner: 'a', role: MemberRole.STANDBY, ...seat }],
    partitions: [{ serial: `serial-${site}` }],
    journal: { quarantined: quarantine === '' ? [] : [{ group: 'payments', reason: quarantine }] },
  });
}
beforeEach(() => {
  bench = new EffectsBench();
  Object.assign(database, { group: GROUP, newest: { epoch: 1n, number: 4n, manifestDigest: DIGEST }, recorded: [] });
});
const run = (active = '') => reseat(bench.context, intentOf(''), { active });
const orders = () => bench.orders.filter(({ method }) => method === 'reseat');

describe('seating a group anew', () => {
  /** The database is back at epoch 1 of a; b is active in epoch 2. */
  const rolledBack = (): void => {
    member('a', { epoch: 2n, epochOwner: 'b' });
    member('b', { epoch: 2n, epochOwner: 'b', role: MemberRole.ACTIVE, captured: ref(2n, 7n) });
    member('c', { epoch: 2n, epochOwner: 'b', applied: ref(2n, 7n) });
    bench.said.set('b', { epoch: 2n, epochOwner: 'b' });
  };

  it('orders everybody under one epoch, the active member last, and writes it down only then', async () => {
    rolledBack();
    bench.answers.set('reseat b', async () => {
      expect(database.recorded).toEqual(['issued 3 of b', 'knows 7 of 2', 'knows 7 of 2']);
      expect(orders()).toHaveLength(3);
      return {};
    });
    expect(await run()).toMatchObject({ type: 'reseated', epoch: 3n, activeSite: 'b', leftAside: [] });
    expect(
      orders().map(({ site, request }) => [site, request['role'], (request['fence'] as { epoch: bigint }).epoch]),
    ).toEqual([
      ['a', MemberRole.STANDBY, 3n],
      ['c', MemberRole.STANDBY, 3n],
      ['b', MemberRole.ACTIVE, 3n],
    ]);
    expect(database.recorded.slice(3)).toEqual(['in force 3 of b', 'a standby', 'c standby']);
  });

  it('waits out the last lease where somebody does not answer, and fences that member', async () => {
    rolledBack();
    bench.answers.set('describe a', 'SITE_UNREACHABLE');
    const done = run();
    await vi.waitFor(() => expect(orders()).toHaveLength(1));
    expect(orders().map(({ site }) => site)).toEqual(['c']);
    await bench.clock.advance(bench.context.ports.timings.leaseMs * 2);
    expect(await done).toMatchObject({ activeSite: 'b', seated: ['b', 'c'] });
    expect(database.recorded).toContain('a fenced');
  });

  it('changes nothing in force where the active member does not take its seat', async () => {
    rolledBack();
    bench.answers.set('reseat b', 'FILE_UNWRITABLE');
    expect((await rejection(run())).code).toBe('FILE_UNWRITABLE');
    expect(database.recorded.some((one) => one.startsWith('in force'))).toBe(false);
  });

  it('is refused without a majority, and nothing is ordered', async () => {
    rolledBack();
    for (const site of ['a', 'c']) bench.answers.set(`describe ${site}`, 'SITE_UNREACHABLE');
    expect((await rejection(run())).code).toBe('RESEAT_REFUSED');
    expect([orders(), database.recorded]).toEqual([[], []]);
  });

  it('brings a standby in quarantine what it is known to have held, in the tenure that is in force', async () => {
    member('a', { role: MemberRole.ACTIVE, captured: ref(1n, 4n) });
    member('b', {}, 'older copy');
    member('c', { applied: ref(1n, 4n) });
    expect(await run()).toMatchObject({ epoch: 1n, activeSite: 'a', seated: ['b'] });
    expect(orders()).toMatchObject([
      { site: 'b', request: { role: MemberRole.STANDBY, fence: { epoch: 1n, owner: 'a' } } },
    ]);
    expect(database.recorded).toEqual(['b standby']);
  });

  it('names the newest generation of its own to an active member whose journal is an older copy', async () => {
    member('a', { role: MemberRole.ACTIVE, captured: ref(1n, 2n) }, 'older copy');
    member('b', { applied: ref(1n, 4n) });
    member('c', { applied: ref(1n, 4n) });
    bench.quarantined.set('a', 'older copy');
    bench.answers.set('reseat a', async () => {
      bench.quarantined.clear();
      return {};
    });
    await run();
    expect(bench.accepted).toEqual(['a']);
    expect(orders().at(-1)).toMatchObject({
      site: 'a',
      request: { role: MemberRole.ACTIVE, generation: { generation: 4n } },
    });
  });

  it('waits until a site has been told of its quarantine, or it would come after the order that ends it', async () => {
    member('a', { role: MemberRole.ACTIVE, captured: ref(1n, 4n) });
    member('b', {});
    member('c', { applied: ref(1n, 4n) });
    bench.quarantined.set('b', 'older copy');
    expect((await rejection(run())).code).toBe('GROUP_BUSY');
    expect([orders(), bench.accepted]).toEqual([[], []]);
  });
});
