/**
 * Journal, store and partitions of this site, for a command that a person runs beside the agent. Such a command is a
 * process of its own, and its clock is the clock of the machine.
 */
import { openPartition, type WorkerProvider } from '@antipode/hsm-core';
import { type Clock, type Log, systemClock } from '@antipode/runtime';
import { type AgentConfig, type PartitionSettings, partitionConfig } from '../config.ts';
import { GenerationStore } from '../storage/generation-store.ts';
import { Journal } from '../storage/journal/journal.ts';

export interface SiteMemory {
  readonly journal: Journal;
  readonly store: GenerationStore;
  readonly clock: Clock;
  close(): void;
}

/** @throws FILE_UNWRITABLE, FILE_BUSY, FILE_DAMAGED, SITE_RENAMED */
export function openSiteMemory({ dataFolder, site }: Pick<AgentConfig, 'dataFolder' | 'site'>): SiteMemory {
  const clock = systemClock;
  const journal = Journal.open(dataFolder, { site });
  try {
    const store = GenerationStore.open(dataFolder, { clock });
    const close = (): void => {
      store.close();
      journal.close();
    };
    return { journal, store, clock, close };
  } catch (thrown) {
    journal.close();
    throw thrown;
  }
}

/** `serial` is what the journal knows, where it knows one. @throws what {@link openPartition} throws */
export const openForCommand = (
  settings: PartitionSettings,
  { dataFolder, serial, log }: { dataFolder: string; serial?: string | undefined; log: Log },
): Promise<WorkerProvider> =>
  openPartition(partitionConfig(settings, { dataFolder, serial }), { log, clock: systemClock });
