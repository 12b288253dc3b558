/** Faults of coordinators, and of their database and queue. */
import type { FaultTable } from './fault.ts';

export const COORDINATOR_FAULTS: FaultTable = {
  'kill-coordinator': ({ at }, { world }) => {
    const coordinator = world.coordinator(at);
    coordinator.kill();
    return () => void coordinator.start();
  },
  'pause-coordinator': ({ at }, { world }) => {
    const coordinator = world.coordinator(at);
    coordinator.pause();
    return () => coordinator.resume();
  },
  'coordinators-away': (_act, { world }) => {
    const coordinators = [...world.coordinators.values()];
    for (const coordinator of coordinators) coordinator.kill();
    return () => {
      for (const coordinator of coordinators) void coordinator.start();
    };
  },
  'change-profile': ({ at, value }, { world }) => {
    const coordinator = world.coordinator(at);
    coordinator.kill();
    const { leaseMs, selfStopMs } = world.timings;
    coordinator.timings = {
      ...world.timings,
      leaseMs: Math.round(leaseMs * value),
      selfStopMs: Math.round(selfStopMs * value),
    };
    return () => void coordinator.start();
  },
  'retired-sites': ({ value }, { world: { database } }) => {
    for (let number = 1; number <= value; number += 1)
      database.rows("INSERT INTO site (name, address, version, partitions) VALUES ($1, $2, '', '[]')", [
        `retired-${number}`,
        `retired-${number}:1`,
      ]);
    return undefined;
  },
  'stall-database': (_act, { world: { database } }) => {
    database.stall();
    return () => database.goOn();
  },
  'database-away': (_act, { world: { database } }) => {
    database.isAway = true;
    return () => {
      database.isAway = false;
    };
  },
  'cut-database': ({ at }, { world: { database } }) => {
    database.unreachableFrom.add(at);
    return () => void database.unreachableFrom.delete(at);
  },
  'silent-commits': ({ value }, { world: { database } }) => {
    database.silentCommits = value;
    return () => {
      database.silentCommits = 0;
    };
  },
  'roll-back-database': (_act, { world: { database }, facts }) => {
    const copy = database.copy();
    return () => {
      database.restore(copy);
      facts.putBack();
    };
  },
  'queue-away': (_act, { world: { queue } }) => {
    queue.isAway = true;
    return () => {
      queue.isAway = false;
    };
  },
  'mute-queue': (_act, { world: { queue } }) => {
    queue.isMute = true;
    return () => {
      queue.isMute = false;
      // It delivers nothing of what it holds. The reconciler has run that.
      queue.wipe();
    };
  },
  'wipe-queue': (_act, { world: { queue } }) => {
    queue.wipe();
    return undefined;
  },
  'doubling-queue': ({ value }, { world: { queue } }) => {
    queue.doubling = value;
    return () => {
      queue.doubling = 0;
    };
  },
};
