/** Trust that is taken back: the pins of exactly what is meant, what follows said before, and counted at once. */
import { join } from 'node:path';
import { MemberRole } from '@antipode/protocol';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { SimulatedSite } from '../testing/simulated-site.ts';
import { fence, GROUP, TwoSites } from '../testing/two-sites.ts';
import { distrustPartitions, planDistrust } from './distrust.ts';
import type { Pin } from './pins.ts';

let sites: TwoSites;
let a: SimulatedSite;
let b: SimulatedSite;

beforeEach(async () => {
  sites = await TwoSites.make();
  ({ a, b } = sites);
});

afterEach(() => sites.close());

const placeOf = ({ name, folder }: SimulatedSite) => ({
  site: name,
  dataFolder: folder,
  pinsFile: join(folder, 'pins.yaml'),
});
const serials = (site: SimulatedSite, group = GROUP): string[] => site.pins.of(group).map(({ serial }) => serial);
const pinOf = (site: SimulatedSite, serial: string): Pin => site.pins.of(GROUP).find((pin) => pin.serial === serial)!;

describe('a partition that is trusted no more', () => {
  it('is the one that is named, or all of its site, in every group or in one', () => {
    b.pins.add('cards', [pinOf(b, 'a-1'), pinOf(b, 'a-2')]);
    expect(serials(b)).toEqual(['a-1', 'a-2', 'b-1', 'b-2']);
    expect(distrustPartitions(placeOf(b), { site: 'a', serials: ['a-2'], group: GROUP })).toBe(1);
    expect([serials(b), serials(b, 'cards')]).toEqual([
      ['a-1', 'b-1', 'b-2'],
      ['a-1', 'a-2'],
    ]);
    expect(distrustPartitions(placeOf(b), { site: 'a' })).toBe(3);
    expect([serials(b), serials(b, 'cards')]).toEqual([['b-1', 'b-2'], []]);
    for (const again of [{ site: 'a' }, { site: 'z' }]) expect(distrustPartitions(placeOf(b), again)).toBe(0);
  });

  it('is one of a card by its serial number too, whichever identity it had', () => {
    const former = { ...pinOf(b, 'a-1'), identity: 'ff'.repeat(32) };
    b.pins.add(GROUP, [former]);
    const card = { site: 'a', pins: [pinOf(b, 'a-1')] };
    expect(distrustPartitions(placeOf(b), { site: 'a', card })).toBe(2);
    expect(serials(b)).toEqual(['a-2', 'b-1', 'b-2']);
  });

  it('brings nothing to this site and gets nothing from it, at once', async () => {
    const ref = await sites.captured();
    distrustPartitions(placeOf(b), { site: 'a', serials: ['a-1'] });
    expect((await rejection(sites.apply(b, ref))).code).toBe('PEER_NOT_PINNED');
    const members = ['a-1', 'b-1'].map((serial) => ({ site: { site: serial[0]!, address: `${serial[0]}:1` }, serial }));
    const { failures } = await a.call('distributeDomainKey', { fence: fence(), version: 2, members });
    expect(failures).toMatchObject([{ serial: 'b-1', code: 'PEER_NOT_PINNED' }]);
  });
});

describe('the consequences', () => {
  const plan = (site: SimulatedSite, who: string, ...named: string[]) =>
    planDistrust(placeOf(site), { site: who, ...(named.length === 0 ? {} : { serials: named }) });

  it('at a standby are that it gets no later generation of the active member, and change nothing yet', async () => {
    const ref = await sites.captured();
    await sites.apply(b, ref);
    await sites.verify(b, ref);
    const [one, ...others] = await plan(b, 'a');
    expect([one?.group, one?.losesReplication, one?.pins.map(({ serial }) => serial), others]).toEqual([
      GROUP,
      true,
      ['a-1', 'a-2'],
      [],
    ]);
    expect(one?.consequences).toEqual([
      expect.stringContaining('no generation and no domain key of group payments from partition a-1'),
      expect.stringContaining('scratch partition a-2'),
      expect.stringContaining('loses its replication here'),
      expect.stringContaining('gives site a no generation'),
      expect.stringContaining('the newest here, is signed by it'),
    ]);
    expect(serials(b)).toEqual(['a-1', 'a-2', 'b-1', 'b-2']);
  });

  it('at the active member are that the standby gets no more', async () => {
    const [one] = await plan(a, 'b', 'b-1');
    expect(one?.losesReplication).toBe(true);
    expect(one?.consequences[1]).toContain('loses its replication at site b');
    // Its scratch partition is still trusted: its site may still fetch what a drill needs.
    expect(one?.consequences).toHaveLength(2);
  });

  it('of a scratch partition, and in a group that this site is not in, end no replication', async () => {
    b.pins.add('cards', [pinOf(b, 'a-1')]);
    const plans = await plan(b, 'a', 'a-2');
    expect(plans.map(({ group, losesReplication }) => [group, losesReplication])).toEqual([[GROUP, false]]);
    const all = await plan(b, 'a');
    expect(all.map(({ group, losesReplication }) => [group, losesReplication])).toEqual([
      [GROUP, true],
      ['cards', false],
    ]);
  });

  it('between two standbys end no replication', async () => {
    await b.call('setRole', { fence: fence(2n, 'c'), serial: 'b-1', role: MemberRole.STANDBY });
    expect(await plan(b, 'a')).toMatchObject([{ group: GROUP, losesReplication: false }]);
  });

  it('of the last distributor are that members bring domain keys again', async () => {
    const distributor = { site: 'd', serial: 'd-1', identity: 'dd'.repeat(32), role: 'distributor' as const };
    b.pins.add(GROUP, [distributor]);
    expect((await plan(b, 'd'))[0]?.consequences).toEqual([
      expect.stringContaining('from distributor partition d-1'),
      expect.stringContaining('trusts no distributor'),
    ]);
  });

  it('are none where nothing is trusted', async () => {
    expect(await plan(b, 'z')).toEqual([]);
  });
});
