/**
 * A generation is acknowledged while an automatic failover surveys the members and waits for the dark site. It is not
 * lost, although the member that was surveyed first does not have it (I3).
 */
import { systemClock } from '@antipode/runtime';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { GROUP, TestSystem } from '../../support/system.ts';

let system: TestSystem;
beforeAll(async () => {
  system = await TestSystem.start({ links: 'everywhere' });
  await system.makeKey('a', '01');
  await system.replicate();
});
afterAll(() => system?.close());

const openFailover = async () =>
  (await system.operator.listOperations({ group: GROUP, limit: 20 })).operations.find(
    ({ kind }) => kind === 'failover',
  );

/** Holds up the work on the partition of a site from its nth piece on. */
function holdUp(name: string, nth: number): { readonly reached: Promise<void>; readonly release: () => void } {
  const partition = system.agent(name).site.partitions.all.find(({ settings }) => settings.role !== 'scratch')!;
  const use = partition.use.bind(partition);
  const [reached, released] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let count = 0;
  partition.use = (work, signal, rank) =>
    use(
      async (open) => {
        count += 1;
        if (count >= nth) {
          reached.resolve();
          await released.promise;
        }
        return work(open);
      },
      signal,
      rank,
    );
  return { reached: reached.promise, release: () => released.resolve() };
}

/** Whether the agent of a site has described itself to the coordinator since so many lines were logged. */
const hasAnswered = (name: string, before: number): boolean =>
  system.logLines
    .slice(before)
    .some((line) => line.includes(`"site":"${name}"`) && line.includes('SiteAgentService/Describe'));

it('the failover begins again, and the member that has acknowledged it serves', async () => {
  // b never gets as far; c has restored it, and has not read it back yet.
  const [behind, ahead] = [holdUp('b', 1), holdUp('c', 2)];
  await system.makeKey('a', '02');
  await system.operator.replicate({ group: GROUP });
  await Promise.all([behind.reached, ahead.reached]);
  const { inbound, outbound } = system.site('a');
  for (const link of [inbound, outbound]) link?.blackHole();
  // Everybody is asked at once. The survey has the answer of c, and waits for the dark site.
  for (const before = system.logLines.length; !hasAnswered('c', before); ) await systemClock.sleep(2);
  ahead.release();
  try {
    await system.until('the failover has ended', async () => (await openFailover())?.status === 'done');
  } finally {
    behind.release();
    for (const link of [inbound, outbound]) link?.heal();
  }
  const ended = (await openFailover())!;
  expect(ended.outcome).toMatchObject({
    case: 'failover',
    value: { toSite: 'c', lost: [], overtaken: expect.toSatisfy((times: number) => times > 0) },
  });
  expect(await system.keysAt('c')).toContain('key 02');
});
