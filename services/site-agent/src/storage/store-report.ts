/**
 * A report for a person on the store of a site: its contents, what will be erased of them and when, and what was
 * erased. It works whether the agent runs or not.
 */

import { openSiteMemory } from '../commands/beside-agent.ts';
import type { AgentConfig } from '../config.ts';
import type { Erasure } from './journal/collection.ts';

export interface StoreReport {
  readonly manifests: readonly { readonly group: string; readonly manifests: number }[];
  readonly sealedObjects: number;
  readonly bytes: number;
  /** Deletions that this site still keeps, of all groups. */
  readonly deletedKept: number;
  /** Those whose retention has passed. They go when nothing names them any more and the grace time has passed. */
  readonly deletedExpired: number;
  /** Sealed objects that nothing needs any more, and what they take. */
  readonly unneeded: { readonly sealedObjects: number; readonly bytes: number };
  /** Time for which this agent must still run until the first and the last of them may be erased. */
  readonly erasedInMs: { readonly first: number; readonly last: number } | undefined;
  /** The latest first. */
  readonly erasures: readonly Erasure[];
}

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

export function storeReport(config: AgentConfig): StoreReport {
  const graceMs = config.eraseGraceHours * HOUR_MS;
  const floorMs = config.deletedRetentionDaysMin * DAY_MS;
  const memory = openSiteMemory(config);
  try {
    const { journal, store } = memory;
    const { collection } = journal;
    const nowMs = collection.runningMs;
    const burials = collection.buriedGroups().flatMap((group) => collection.buried(group));
    const isExpired = (one: (typeof burials)[number]): boolean =>
      nowMs - one.sinceMs >= Math.max(one.retentionMs, floorMs);
    const expired = new Set(burials.filter(isExpired).flatMap(({ blobs }) => blobs));
    const marked = [...collection.unneeded()].filter(([digest]) => store.hasBlob(digest));
    const left = marked.map(([digest, sinceMs]) =>
      Math.max(0, sinceMs + (expired.has(digest) ? graceMs : Math.max(graceMs, floorMs)) - nowMs),
    );
    const { blobs: sealedObjects, bytes } = store.sizeOf();
    const unneeded = store.sizeOf(marked.map(([digest]) => digest));
    return {
      manifests: [...Map.groupBy(store.manifests(), ({ group }) => group)].map(([group, some]) => ({
        group,
        manifests: some.length,
      })),
      sealedObjects,
      bytes,
      deletedKept: burials.length,
      deletedExpired: burials.filter(isExpired).length,
      unneeded: { sealedObjects: unneeded.blobs, bytes: unneeded.bytes },
      erasedInMs: left.length === 0 ? undefined : { first: least(left), last: most(left) },
      erasures: collection.erasures(),
    };
  } finally {
    memory.close();
  }
}

const least = (all: readonly number[]): number => all.reduce((one, other) => Math.min(one, other));
const most = (all: readonly number[]): number => all.reduce((one, other) => Math.max(one, other));
