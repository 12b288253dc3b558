/**
 * Changes of a group while something else goes wrong. The coordinator or an agent is killed right after a durable step:
 * in the database, of an order, in a journal, in a token. The database is put back. The active site is lost. A failover
 * comes at the same moment. A supervisor starts again what was killed, the operator repeats the order, and the end is the
 * same.
 */
import { FailoverPolicy, type GroupChange } from '@antipode/protocol';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { unsettledNow } from '../../chaos/soak/checks.ts';
import { type Kill, SimulatedSystem } from '../../support/simulated-system.ts';

vi.setConfig({ testTimeout: 300_000 });

const GROUP = 'payments';
const SITES = ['a', 'b', 'c', 'd'] as const;
type Change = NonNullable<GroupChange['kind']['case']>;

let system: SimulatedSystem;

beforeAll(async () => {
  system = await SimulatedSystem.start({ seed: 'changes', isKillable: true }, { sites: SITES, group: GROUP });
  await system.until(
    (async () => {
      const members = ['a', 'b', 'c'].map((site) => ({ site, serial: `${site}-1` }));
      const scratch = [{ site: 'c', serial: 'c-2' }];
      const spec = { name: GROUP, members, scratch, rpoSeconds: 60, failoverPolicy: FailoverPolicy.MANUAL };
      await system.ended((await system.operator.createGroup({ spec })).operationId);
      system.sites.get('a')!.member.hsm.addSecret('key');
      await settled(['a', 'b', 'c']);
    })(),
  );
});
afterAll(() => system?.close());
/** A process that was started again is another one, and its journal takes everything. Else all of this only waits. */
afterEach(() => {
  const refused = /HEARTBEAT_LATE|FILE_UNWRITABLE/;
  expect(system.lines.filter((line) => refused.test(line))).toEqual([]);
});

const groupNow = async () => (await system.operator.getGroup({ group: GROUP })).group!;

/** As an operator repeats a command until it says that the group is declared like this. */
function order(kind: Exclude<Change, 'settings'>, value: object): Promise<true> {
  return system.eventually(`${kind} is made`, async () => {
    const change = { kind: { case: kind, value } } as never;
    const plan = await system.operator.planGroupChange({ group: GROUP, change });
    if (plan.changes.length === 0) return true;
    await system.operator.changeGroup({ group: GROUP, change, revision: plan.revision });
    return false;
  });
}

/** Until these sites, and nobody else, are members of a group in which nothing is open, due, behind or different. */
function settled(sites: readonly string[]): Promise<true> {
  let why = '';
  return system
    .eventually('all is settled', async () => {
      why = (await unsettled(sites)).join('; ');
      return why === '';
    })
    .catch((thrown: unknown) => {
      throw new Error(`${why}\n${String(thrown)}`);
    }) as Promise<true>;
}

async function unsettled(sites: readonly string[]): Promise<string[]> {
  const group = await groupNow();
  const members = group.members.map(({ site }) => site).sort();
  const contents = (site: string): string => system.sites.get(site)!.member.hsm.contents().join('\n');
  const { domainKeyVersion, newest } = group;
  return [
    ...(members.join() === sites.join() ? [] : [`members are ${members.join()}`]),
    ...group.joining.map(({ site, waitsFor }) => `${site} joins: ${waitsFor}`),
    ...(group.domainKeyDue ? ['a version is due'] : []),
    ...(newest?.domainKeyVersion === domainKeyVersion ? [] : ['the newest generation is under an older version']),
    ...SITES.flatMap((site) => {
      const living = system.sites.get(site)!;
      if (!living.isAlive) return [`the agent of ${site} is not there`];
      const seats = living.site.journal.tenure.seats().map(({ role }) => role);
      const expected = sites.includes(site) ? [site === group.activeSite ? 'active' : 'standby'] : [];
      const versions = living.site.journal.domainKeys.of(`${site}-1`).map(({ version }) => version);
      return [
        ...(seats.join() === expected.join() ? [] : [`the agent of ${site} has the seats ${seats.join()}`]),
        ...(!sites.includes(site) || versions.includes(domainKeyVersion) ? [] : [`${site} lacks the domain key`]),
        ...(!sites.includes(site) || contents(site) === contents(group.activeSite) ? [] : [`${site} holds other keys`]),
      ];
    }),
    ...(await unsettledNow(system)),
  ];
}

const PARTIES = ['coordinator', ...SITES];
/** More than any of these changes has. */
const STEPS_MAX = 200;
/** Steps after which everybody is killed in turn: near each place of a change. */
const SAMPLE = [4, 15];
/** `coordinator`, a site, or `all`: who is killed alone, after each step. All of them take a quarter of an hour. */
const alone = process.env['ANTIPODE_KILL_AFTER_EACH_STEP'];

interface Case {
  readonly change: Exclude<Change, 'settings'>;
  readonly value: object;
  readonly members: readonly string[];
}

const D = { site: 'd', serial: 'd-1' };
/** Each brings back what the next one needs, so that they follow each other round and round. */
const CHANGES: readonly Case[] = [
  { change: 'addMember', value: D, members: ['a', 'b', 'c', 'd'] },
  { change: 'removeMember', value: D, members: ['a', 'b', 'c'] },
  { change: 'scratch', value: { partitions: [{ site: 'd', serial: 'd-2' }] }, members: ['a', 'b', 'c'] },
  { change: 'scratch', value: { partitions: [{ site: 'c', serial: 'c-2' }] }, members: ['a', 'b', 'c'] },
];

/** The same end as without a kill. @returns the kills that it came to */
async function survives({ change, value, members }: Case, after: number, parties: readonly string[]): Promise<Kill[]> {
  const kills = system.killAfter(after, parties);
  await system.until(order(change, value).then(() => settled(members))).catch((thrown: unknown) => {
    const told = kills.map(({ party, steps }) => `${party} after ${steps.at(-1)}`).join(', ');
    throw new Error(`${change}, killed after step ${after}: ${told}: ${String(thrown)}`);
  });
  return kills.filter(({ isDone }) => isDone);
}

describe('a change of a group has the same end', () => {
  it.each(SAMPLE)('when the coordinator and every agent are killed, each after its step %i', async (after) => {
    const killed = new Set<string>();
    for (const one of CHANGES) for (const { party } of await survives(one, after, PARTIES)) killed.add(party);
    expect(killed).toContain('coordinator');
  });

  // In `npm test` everybody is killed at once, and not after every step.
  if (alone !== undefined)
    it('when one of them is killed after each of its steps', async () => {
      for (const party of PARTIES.filter((one) => alone === 'all' || alone === one)) {
        let left = CHANGES.length;
        for (let after = 1; left > 0 && after < STEPS_MAX; after += 1) {
          left = 0;
          // All of them, also those that have no such step: the next one needs their end.
          for (const one of CHANGES) left += (await survives(one, after, [party])).length;
        }
        expect(left).toBe(0);
      }
    }, 3_600_000);
});

/** The steps of docs/runbooks/journals-disagree.md. */
async function reseated(): Promise<void> {
  await system.eventually('the group is contradicted', async () => (await groupNow()).contradiction !== '');
  const { operationId } = await system.operator.reseatGroup({ group: GROUP });
  const { status, errorMessage } = await system.ended(operationId);
  expect([status, errorMessage]).toEqual(['done', '']);
}

describe('a database that is put back to before a change', () => {
  it.each(CHANGES.slice(0, 2).map((one, index) => ({ ...one, before: CHANGES.at(index - 1)!.members })))(
    'is contradicted by the agents: $change is made again after a reseat, under a new domain key',
    async ({ change, value, members, before }) => {
      system.killAfter(0, []);
      await system.until(settled(before));
      const copy = await system.store.copy();
      await system.until(order(change, value).then(() => settled(members)));
      const { domainKeyVersion } = await system.until(groupNow());
      await system.rollBack(copy);
      await system.until(reseated());
      // No version that somebody may hold who is not a member by now.
      const later = async () => (await groupNow()).domainKeyVersion > domainKeyVersion;
      await system.until(system.eventually('a later version is in use', later));
      await system.until(order(change, value).then(() => settled(members)));
    },
  );
});

/** As an operator repeats a command until the site is active. */
async function moved(toSite: string, acceptLoss = false): Promise<void> {
  await system.eventually(`site ${toSite} is active`, async () => {
    if ((await groupNow()).activeSite === toSite) return true;
    const { operationId } = await system.operator.failover({ group: GROUP, toSite, acceptLoss });
    await system.ended(operationId);
    return false;
  });
}

describe('a change while the active site is lost', () => {
  it.each([
    ['adds a site, which joins when another one is active', CHANGES[0]!, 'a', 'b'],
    ['removes a site, and nobody waits for the one that is lost', CHANGES[1]!, 'b', 'a'],
  ])('%s', async (_what, { change, value, members }, lost, next) => {
    system.killAfter(0, []);
    system.killSite(lost);
    const isDown = async () =>
      (await system.operator.getStatus({})).sites.some(({ site, state }) => site === lost && state === 'down');
    const work = async (): Promise<void> => {
      await system.eventually('the site is down', isDown);
      await order(change, value);
      await moved(next);
      await system.sites.get(lost)!.start();
      await settled(members);
    };
    await system.until(work());
  });
});

describe('a removal and a failover to the same site, in one moment', () => {
  it.each([0, 20, 60])('leave a member active, where the failover comes %i ms later', async (laterMs) => {
    system.killAfter(0, []);
    const work = async (): Promise<string> => {
      await order('addMember', D);
      await settled(['a', 'b', 'c', 'd']);
      const { revision } = await groupNow();
      const change = { kind: { case: 'removeMember', value: D } } as const;
      const answers = await Promise.allSettled([
        system.operator.changeGroup({ group: GROUP, change, revision }),
        system.clock.sleep(laterMs).then(() => system.operator.failover({ group: GROUP, toSite: 'd' })),
      ]);
      expect(answers.map(({ status }) => status)).toContain('fulfilled');
      const isOver = async () =>
        (await system.operator.getStatus({})).operations.every(({ status }) => status !== 'open');
      await system.eventually('nothing is under way', isOver);
      const { activeSite, members } = await groupNow();
      expect(members.map(({ site }) => site)).toContain(activeSite);
      if (activeSite === 'd') await moved('a');
      await order('removeMember', D);
      await settled(['a', 'b', 'c']);
      return activeSite;
    };
    await system.until(work());
  });
});
