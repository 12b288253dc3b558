/** Faults of sites: their processes, machines, disks and clocks. */
import type { FaultTable } from './fault.ts';

export const SITE_FAULTS: FaultTable = {
  'kill-agent': ({ at }, { world, facts }) => {
    const site = world.site(at);
    site.kill();
    facts.restarted(at);
    return () => site.start();
  },
  'pause-agent': ({ at }, { world }) => {
    const site = world.site(at);
    site.pause();
    return () => site.resume();
  },
  'crash-at-commit': ({ at, value }, { world, facts }) => {
    const site = world.site(at);
    site.disk.crash = { commits: Math.max(1, Math.round(value)), when: value % 1 < 0.5 ? 'before' : 'after' };
    return () => {
      site.disk.crash = undefined;
      if (site.process.hasEnded) facts.restarted(at);
      site.start();
    };
  },
  'crash-in-a-call': ({ at, value }, { world, facts }) => {
    const site = world.site(at);
    site.crashInSteps = Math.max(1, Math.round(value));
    return () => {
      site.crashInSteps = undefined;
      facts.tokenChanged(at);
      if (site.process.hasEnded) facts.restarted(at);
      site.start();
    };
  },
  'lose-site': ({ at }, { world, facts }) => {
    const site = world.site(at);
    if (site.isOff) return undefined;
    site.switchOff();
    facts.restarted(at);
    return () => site.switchOn();
  },
  'lose-disk': ({ at }, { world, facts, forget }) => {
    const site = world.sites.get(at);
    if (site === undefined) return undefined;
    site.kill();
    site.disk.replace();
    forget(at);
    facts.restarted(at);
    facts.putBack(at);
    return () => site.start();
  },
  'disk-full': ({ at }, { world }) => {
    const { disk } = world.site(at);
    disk.fault = 'full';
    return () => {
      disk.fault = undefined;
    };
  },
  'disk-locked': ({ at }, { world }) => {
    const { disk } = world.site(at);
    disk.fault = 'locked';
    return () => {
      disk.fault = undefined;
    };
  },
  'roll-back-journal': ({ at }, { world, facts, forget }) => {
    const site = world.site(at);
    const copy = site.disk.copy();
    return () => {
      site.kill();
      site.disk.restore(copy);
      forget(at);
      facts.restarted(at);
      facts.putBack(at);
      site.start();
    };
  },
  'run-copy': ({ at, value: secondsOld }, { world }) => {
    const site = world.site(at);
    const copy = site.disk.copy();
    let isOver = false;
    let stop = (): void => {};
    world.clock.after(secondsOld * 1_000, () => {
      if (!isOver) stop = site.startCopy(copy);
    });
    return () => {
      isOver = true;
      stop();
    };
  },
  'step-clock': ({ at, value }, { world }) => {
    world.machine(at).wallOffsetMs += Math.round(value);
    return undefined;
  },
  'drift-clock': ({ at, value }, { world }) => {
    world.machine(at).rate = value;
    return undefined;
  },
};
