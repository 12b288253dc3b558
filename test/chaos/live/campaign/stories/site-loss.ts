/** The active site is lost, agent and HSM together. The time counts from the kill. */
import { renameSync } from 'node:fs';
import { join } from 'node:path';
import { systemClock } from '@antipode/runtime';
import { PATIENCE_MS, type Scene } from '../scene.ts';
import type { Story } from './story.ts';

export const SITE_LOSS: Story = {
  name: 'site-loss',
  what: 'the agent of the active site is killed and its HSM taken away: the client signs at another site',
  coordinators: 1,
  needsNetwork: false,
  play: async (scene: Scene) => {
    const { system, client } = scene;
    await scene.someMoment();
    const killedMs = systemClock.monotonicMs();
    await system.site('a').process!.killAll();
    // Keys that were being made are lost to nobody: no replication has acknowledged them.
    const { folder } = system.site('a').token;
    renameSync(join(folder, 'tokens'), join(folder, 'tokens-lost'));
    const signed = await client.signsElsewhere('a', PATIENCE_MS);
    return { servingMs: signed && signed.atMs - killedMs, settles: false };
  },
};
