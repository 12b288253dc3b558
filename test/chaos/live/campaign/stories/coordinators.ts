/** Two coordinators lose each other, their queue or their database. Keys go on being acknowledged. */
import type { Scene } from '../scene.ts';
import type { Story } from './story.ts';

/** Some more keys are made and acknowledged. */
async function worksOn({ system, maker }: Scene, keys = 2): Promise<void> {
  const wanted = maker.acknowledged.length + keys;
  await system.until('keys are acknowledged', async () => maker.acknowledged.length >= wanted);
}

async function followed(scene: Scene, leader: string): Promise<void> {
  await scene.system.until('another coordinator leads', async () => (await scene.leader()) !== leader);
}

export const COORDINATOR_CUT: Story = {
  name: 'coordinator-cut',
  what: 'the link of the coordinator that leads goes down, and comes back after the other one has taken over',
  coordinators: 2,
  needsNetwork: true,
  play: async (scene) => {
    const leader = await scene.leader();
    await scene.someMoment();
    await scene.network!.linkDown(leader);
    await followed(scene, leader);
    await worksOn(scene);
    await scene.network!.linkUp(leader);
    await scene.system.moveTo('b');
    return { settles: true };
  },
};

export const QUEUE_LOST: Story = {
  name: 'queue-lost',
  what: 'Redis is wiped, then lost; the coordinator that leads is killed meanwhile, and the group is moved by order',
  coordinators: 2,
  needsNetwork: false,
  play: async (scene) => {
    const { system, pair, options } = scene;
    await pair!.wipeQueue();
    await worksOn(scene);
    const isSilent = options.prng.fraction() < 0.5;
    options.tell(`  Redis ${isSilent ? 'falls silent' : 'refuses connections'}`);
    if (isSilent) pair!.queueLink.blackHole();
    else pair!.queueLink.cut();
    await worksOn(scene);
    const leader = await scene.leader();
    await system.coordinatorProcesses.get(leader)!.killAll();
    await followed(scene, leader);
    await worksOn(scene);
    await system.moveTo('b');
    system.startSharing(leader);
    pair!.queueLink.heal();
    await worksOn(scene);
    return { settles: true };
  },
};

export const DATABASE_LOST: Story = {
  name: 'database-lost',
  what: 'the primary of the database is killed, and its standby takes its place',
  coordinators: 2,
  needsNetwork: false,
  play: async (scene) => {
    const { system, pair } = scene;
    await scene.someMoment();
    await pair!.caughtUp();
    await pair!.failOver();
    await worksOn(scene);
    await system.moveTo('b');
    return { settles: true };
  },
};
