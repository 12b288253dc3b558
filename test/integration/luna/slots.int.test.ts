/** Slots, partitions and policies, read before anybody logs in. A number is that of a scenario in the facts on lunacm. */
import { preflightOf } from '@antipode/hsm-core/luna';
import { rejection } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { clone, lunaSite, typed } from './support.ts';

it('1: reads the client and its slots by their serial numbers', async () => {
  const site = lunaSite();
  const { version, slots } = await site.finish(site.driver.survey());
  expect(version).toEqual({ major: 10, minor: 7, patch: 1, build: 125 });
  expect(slots.map(({ number, serial, label }) => [number, serial, label])).toEqual([
    [0, '154438865287', 'par0'],
    [1, '154438865301', 'scratch'],
    [101, '532018', 'vault'],
  ]);
  expect(slots[0]).toMatchObject({ firmware: '7.7.1', isPed: false, isVirtual: false, description: 'Net Token Slot' });
});

it('2: reports a client without slots as such, though it prints stray lines and ends with 12', async () => {
  const site = lunaSite();
  for (const serial of ['154438865287', '154438865301', '532018']) site.replace(serial, { isReachable: false });
  expect((await site.finish(site.driver.survey())).slots).toEqual([]);
  const error = await rejection(site.finish(site.driver.examine(site.source.address, 'partition')));
  expect(error).toMatchObject({ code: 'PARTITION_NOT_FOUND', details: { slots: 0 } });
});

it.each([
  ['7.1', { major: 7, minor: 1, patch: 0, build: 379 }],
  ['7.2', { major: 7, minor: 2, patch: 0, build: 220 }],
  ['7.11', { major: 7, minor: 11, patch: 1, build: 5 }],
  ['10.7', { major: 10, minor: 7, patch: 1, build: 125 }],
  ['hostile', { major: 11, minor: 0, patch: 0, build: 1 }],
])('3: reads the banner of %s', async (dialect, version) => {
  const site = lunaSite({ settings: { dialect } });
  expect((await site.finish(site.driver.survey())).version).toEqual(version);
});

it('4: waits for a dead appliance, and names the partition that is missing', async () => {
  const site = lunaSite();
  site.replace('154438865301', { isReachable: false });
  const { address } = site.target;
  const error = await rejection(site.finish(site.driver.examine(address, 'partition')));
  expect(error).toMatchObject({ code: 'PARTITION_NOT_FOUND', details: { serial: address.serial, slots: 2 } });
  expect(await site.finish(site.driver.examine(site.source.address, 'partition'))).toMatchObject({
    info: { serial: '154438865287' },
  });
});

it('4: reports a client that says nothing at all as not reached', async () => {
  const site = lunaSite();
  site.fault({ command: 'start', at: 0, do: 'hang' });
  expect((await rejection(site.finish(site.driver.survey()))).code).toBe('LUNA_UNREACHED');
});

describe('5: when slots have other numbers than last time', () => {
  it('acts on the serial number', async () => {
    const site = lunaSite();
    site.addKeys(2);
    site.devices.change((devices) => {
      const numbers = devices.slots.map(({ slot }) => slot);
      devices.slots = devices.slots.map(({ serial }, at) => ({ serial, slot: numbers[(at + 1) % 3]! }));
    });
    expect(await clone(site)).toMatchObject({ verdict: 'complete' });
    expect(
      new Set(site.log.filter(({ command }) => command === 'partition clone').map(({ serial }) => serial)),
    ).toEqual(new Set(['154438865287']));
  });

  it('goes nowhere where a serial number has another label', async () => {
    const site = lunaSite();
    site.replace('154438865301', { label: 'made again' });
    const error = await rejection(site.finish(site.driver.examine(site.target.address, 'partition')));
    expect(error.code).toBe('PARTITION_NOT_FOUND');
    expect(typed(site, 'slot set')).toEqual([]);
  });
});

it('6: takes the number of a slot from a line with more brackets in it', async () => {
  const site = lunaSite();
  await site.finish(site.driver.examine(site.target.address, 'partition'));
  expect(typed(site, 'slot set')).toEqual(['slot set -slot 1']);
});

describe('29: a client that hides the members of its high availability', () => {
  const configuration = 'HAConfiguration = {\n   HAOnly = 1;\n}\n';

  it('is refused where a partition is not listed', async () => {
    const site = lunaSite({ configuration });
    site.replace('154438865287', { isReachable: false });
    const error = await rejection(site.finish(site.driver.examine(site.source.address, 'partition')));
    expect(error.code).toBe('LUNA_SLOT_VIRTUAL');
  });

  it('is refused where the slot is a virtual one', async () => {
    const site = lunaSite();
    site.replace('154438865287', { description: 'HA Virtual Card Slot' });
    const error = await rejection(site.finish(site.driver.examine(site.source.address, 'partition')));
    expect(error.code).toBe('LUNA_SLOT_VIRTUAL');
  });
});

describe('30: the obstacle to a move', () => {
  const obstacles = async (
    site: ReturnType<typeof lunaSite>,
    move: 'clone' | 'restore' = 'clone',
  ): Promise<string[]> => {
    const [source, target] = [site.source, site.target].map(({ address }) => address);
    const vault = await site.finish(site.driver.examine(site.vault.address, 'device'));
    return preflightOf({
      ...{ move, nowMs: 0, isHaOnly: false, attemptsFloor: 3 },
      client: (await site.finish(site.driver.survey())).version,
      from: move === 'restore' ? vault : await site.finish(site.driver.examine(source!, 'partition')),
      to: await site.finish(site.driver.examine(target!, 'partition')),
    })
      .filter(({ verdict }) => verdict === 'will fail')
      .map(({ rule }) => rule);
  };

  it('is nothing on partitions as they are made', async () => {
    for (const move of ['clone', 'restore'] as const) expect(await obstacles(lunaSite(), move)).toEqual([]);
  });

  it.each([
    ['a partition that wraps instead', { 0: 0, 1: 1, 4: 1, 42: 0 }, ['private key cloning']],
    ['no cloning of private keys', { 0: 0, 1: 0, 4: 1, 42: 0 }, ['private key cloning']],
    ['no cloning of secret keys', { 0: 1, 1: 0, 4: 0, 42: 0 }, ['secret key cloning']],
    ['the old protocol at one side', { 0: 1, 1: 0, 4: 1, 42: 1 }, ['cloning protocol']],
  ])('is named: %s', async (_what, policies, rules) => {
    const site = lunaSite();
    site.replace('154438865301', { policies });
    expect(await obstacles(site)).toEqual(rules);
  });

  it('is a restricted restore into old firmware, and nothing was changed to find it', async () => {
    const site = lunaSite();
    site.replace('532018', { policies: { 55: 1 } });
    site.replace('154438865301', { firmware: '7.4.0' });
    expect(await obstacles(site, 'restore')).toEqual(['restricted restore']);
    const commands = new Set(site.log.map(({ command }) => command));
    expect([...commands].filter((command) => !/^slot set$|show/.test(command ?? ''))).toEqual([]);
  });
});

it.each([
  ['10.7', 'on', true],
  ['10.7', 'off', false],
  ['7.11', 'off', false],
  ['10.7', 'not said', undefined],
] as const)('32: reads the FIPS line of %s: %s', async (dialect, fips, isFips) => {
  const site = lunaSite({ settings: { dialect } });
  site.replace('154438865287', { fips });
  const { info } = await site.finish(site.driver.examine(site.source.address, 'partition'));
  expect(info.isFips).toBe(isFips);
});
