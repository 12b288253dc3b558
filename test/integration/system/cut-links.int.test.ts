/**
 * Links that are cut in one direction, around the coordinator, or around the active site, in a system of two members and
 * a witness. Whatever is cut, at most one member holds a lease at any time (I1).
 */
import { FailoverPolicy, type GetStatusResponse } from '@antipode/protocol';
import { afterEach, describe, expect, it } from 'vitest';
import { SimulatedSystem } from '../../support/simulated-system.ts';

const GROUP = 'payments';
const MAIN = 'main';
const LOOK_MS = 250;

let system: SimulatedSystem;
afterEach(() => system.close());

/** A group that is protected, with a at the head. */
async function started(): Promise<void> {
  system = await SimulatedSystem.start({ seed: 'cuts' }, { sites: ['a', 'b'], witnesses: ['w'], group: GROUP });
  const members = ['a', 'b'].map((site) => ({ site, serial: `${site}-1` }));
  const spec = {
    name: GROUP,
    members,
    witnessSites: ['w'],
    rpoSeconds: 60,
    failoverPolicy: FailoverPolicy.AUTOMATIC,
  };
  const { operationId } = await system.until(system.operator.createGroup({ spec }));
  await system.until(system.ended(operationId));
  system.sites.get('a')!.member.hsm.addSecret('a key');
}

const status = (): Promise<GetStatusResponse> => system.until(system.operator.getStatus({}));
const siteIn = ({ sites }: GetStatusResponse, name: string) => sites.find(({ site }) => site === name)!;
/** In a look; time passes meanwhile. */
const group = async () => (await system.operator.getGroup({ group: GROUP })).group!;
/** Outside of one. */
const shown = () => system.until(group());

/** The members that would act as the active one now. */
const holders = (): string[] =>
  ['a', 'b'].filter((name) => {
    const { site } = system.sites.get(name)!;
    const fence = site.journal.tenure.fence(GROUP);
    const isActive = site.journal.tenure.seat(GROUP)?.role === 'active';
    return isActive && fence !== undefined && site.leases.remainingMs(GROUP, fence.epoch) > 0;
  });

/** Lets time pass until it is so, and looks at the leases all the time. */
const watched = <T>(look: () => Promise<T | undefined | false>): Promise<T> =>
  system.seen(async () => {
    expect(holders().length).toBeLessThanOrEqual(1);
    return look();
  });

/** For so long, whatever happens. */
async function watchedFor(ms: number): Promise<void> {
  for (let leftMs = ms; leftMs > 0; leftMs -= LOOK_MS) {
    await system.clock.advance(LOOK_MS);
    expect(holders().length).toBeLessThanOrEqual(1);
  }
}

function cutBetween(one: string, others: readonly string[]): void {
  for (const other of others) {
    system.network.cut(one, other);
    system.network.cut(other, one);
  }
}

describe('a healthy active site', () => {
  it('is suspected and refuted, and not left, while only its heartbeats are lost', async () => {
    await started();
    await watched(async () => (await group()).protection === 'protected');
    system.network.cut('a', MAIN);
    await watchedFor(60_000);
    const cut = siteIn(await status(), 'a');
    expect(cut).toMatchObject({ state: 'suspect', refutations: 1, reason: expect.stringContaining('from site b, w') });
    expect(cut.observations.map(({ observer, reached }) => [observer, reached])).toEqual([
      ['b', true],
      ['w', true],
    ]);
    expect((await shown()).activeSite).toBe('a');
    system.network.mend('a', MAIN);
    await watched(async () => (await group()).protection === 'protected');
    expect(siteIn(await status(), 'a')).toMatchObject({ state: 'up', refutations: 1 });
    expect((await shown()).epoch).toBe(1n);
  });

  it('is not convicted by a coordinator that is cut off with its neighbour', async () => {
    await started();
    await watched(async () => (await group()).protection === 'protected');
    for (const lost of ['a', 'b']) cutBetween(lost, [MAIN, 'w']);
    await watchedFor(60_000);
    const told = await status();
    for (const name of ['a', 'b'])
      expect(siteIn(told, name)).toMatchObject({
        state: 'suspect',
        reason: expect.stringContaining('hears only 1 of 3 sites'),
      });
    expect((await shown()).epoch).toBe(1n);
  });
});

describe('an active site that nobody reaches', () => {
  it.each([1, 2])(
    'stops before its successor begins, whether the clock of the coordinator is %i times as fast',
    async (rate) => {
      await started();
      await watched(async () => (await group()).protection === 'protected');
      system.coordinatorClock.rate = rate;
      cutBetween('a', [MAIN, 'b', 'w']);
      await watched(async () => (await group()).activeSite === 'b');
      await watchedFor(30_000);
      const concerns = (await shown()).concerns.filter(({ kind }) => kind === 'clock').map(({ site }) => site);
      expect(concerns).toEqual(rate === 1 ? [] : ['b']);
      expect(siteIn(await status(), 'a').observations.map(({ observer, reached }) => [observer, reached])).toEqual([
        ['b', false],
        ['w', false],
      ]);
    },
  );

  it('is left only when a person has resumed the automation that was paused', async () => {
    await started();
    await watched(async () => (await group()).protection === 'protected');
    await system.until(system.operator.pauseAutomation({ group: '', reason: 'maintenance' }));
    cutBetween('a', [MAIN, 'b', 'w']);
    await watched(async () => siteIn(await system.operator.getStatus({}), 'a').state === 'down');
    await watchedFor(60_000);
    expect(await shown()).toMatchObject({
      epoch: 1n,
      activeSite: 'a',
      automationPause: { operator: 'olga', reason: 'maintenance' },
    });
    await system.until(system.operator.resumeAutomation({ group: GROUP }));
    await watched(async () => (await group()).activeSite === 'b');
    expect((await shown()).automaticFailoverPausedUntilMs).toBeGreaterThan(0n);
  });
});
