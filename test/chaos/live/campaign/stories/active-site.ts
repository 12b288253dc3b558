/** The active site is away for a while, and comes back. */
import { GROUP } from '../../../../support/system.ts';
import { PATIENCE_MS, type Scene, SITES } from '../scene.ts';
import type { Story } from './story.ts';

async function moved({ client }: Scene): Promise<void> {
  if ((await client.signsElsewhere('a', PATIENCE_MS)) === undefined)
    throw new Error('the client does not sign at another site');
}

const MOMENTS_CUT_MAX = 60;

const siteA = async ({ system }: Scene) => {
  const { sites } = await system.operator.getStatus({});
  return sites.find(({ site }) => site === 'a')!;
};

export const ACTIVE_PAUSED: Story = {
  name: 'active-paused',
  what: 'the agent of the active site stands still past its lease, and goes on: it comes back as a standby',
  coordinators: 1,
  needsNetwork: false,
  play: async (scene) => {
    const agent = scene.system.site('a').process!;
    await scene.someMoment();
    agent.signal('SIGSTOP');
    try {
      await moved(scene);
    } finally {
      agent.signal('SIGCONT');
    }
    return { settles: true };
  },
};

export const SITE_CUT: Story = {
  name: 'site-cut',
  what: 'the link of the active site goes down, and comes back some time after another site has taken over',
  coordinators: 1,
  needsNetwork: true,
  play: async (scene) => {
    await scene.someMoment();
    await scene.network!.linkDown('a');
    await moved(scene);
    // Long enough, now and then, for retries to have grown slow.
    for (let left = scene.options.prng.fraction() * MOMENTS_CUT_MAX; left > 0; left -= 1) await scene.someMoment();
    await scene.network!.linkUp('a');
    return { settles: true };
  },
};

const ELSEWHERE = ['b', 'c', 'main'];
/** Lost packets between site a and another place: from where, and to where. */
const CUTS: Readonly<Record<string, (other: string) => readonly [string, string]>> = {
  mute: (other) => ['a', other],
  deaf: (other) => [other, 'a'],
};

export const ONE_WAY: Story = {
  name: 'one-way',
  what: 'everything that the active site sends, or everything sent to it, is lost: to all, or to the coordinator only',
  coordinators: 1,
  needsNetwork: true,
  play: async (scene) => {
    const { network, system, options } = scene;
    const kind = options.prng.fraction() < 0.5 ? 'mute' : 'deaf';
    const others = options.prng.fraction() < 0.5 ? ELSEWHERE : ['main'];
    options.tell(`  site a is ${kind} towards ${others.join(', ')}`);
    const { refutations } = await siteA(scene);
    for (const other of others) await network!.cut(...CUTS[kind]!(other));
    await system.until('the cut is judged', async () => {
      const { group } = await system.operator.getGroup({ group: GROUP });
      return group?.activeSite !== 'a' || (await siteA(scene)).refutations > refutations;
    });
    await scene.someMoment();
    for (const other of others) await network!.mend(...CUTS[kind]!(other));
    return { settles: true };
  },
};

export const DIVERGENT: Story = {
  name: 'divergent',
  what: 'applications go on making keys at a site that was left: when it is back, they are shown and still there',
  coordinators: 1,
  needsNetwork: false,
  play: async (scene) => {
    const { network, system, maker, judges } = scene;
    const agent = system.site('a').process!;
    if (network === undefined) agent.signal('SIGSTOP');
    else await network.linkDown('a');
    await moved(scene);
    const made = [await maker.make('a'), await maker.make('a')];
    if (network === undefined) agent.signal('SIGCONT');
    else await network.linkUp('a');
    await system.until('the keys are shown', async () => {
      const { group } = await system.operator.getGroup({ group: GROUP });
      const { divergentObjects = 0, unaccountedObjects = 0 } = group?.members.find(({ site }) => site === 'a') ?? {};
      return divergentObjects + unaccountedObjects >= made.length;
    });
    for (const { id, label, value } of made)
      if ((await judges.get('a')!.answers('id', { id, label, candidates: [value] })) !== value)
        throw new Error(`${label}, made at a site that was left, does not sign there any more`);
    return { settles: false };
  },
};

export const BLACKOUT: Story = {
  name: 'blackout',
  what: 'every process of every place is killed, and started again in random order',
  coordinators: 1,
  needsNetwork: false,
  play: async (scene) => {
    const { system, options } = scene;
    await scene.someMoment();
    await Promise.all([...SITES.map((name) => system.stopAgent(name)), system.coordinatorProcess!.killAll()]);
    const places = [...SITES, 'coordinator'].map((name) => ({ name, at: options.prng.fraction() }));
    for (const { name } of places.sort((one, other) => one.at - other.at)) {
      if (name === 'coordinator') await system.startCoordinator({ asProcess: true });
      else await system.startAgent(name, { asProcess: true });
      await scene.someMoment();
    }
    return { settles: true };
  },
};
