/** One partition, open for a command that a person runs beside the agent, in a session of its own. */
import { type HsmProvider, type IdentityRecord, type Keyring, openKeyring } from '@antipode/hsm-core';
import { AntipodeError, hasCode, type Log } from '@antipode/runtime';
import { openForCommand, openSiteMemory, type SiteMemory } from '../commands/beside-agent.ts';
import type { AgentConfig, PartitionSettings } from '../config.ts';
import { partitionSettings } from '../partition/administration.ts';
import type { Seat } from '../storage/journal/tenure.ts';

export interface CommandPlace {
  readonly config: AgentConfig;
  /** Of the partition, in the configuration. */
  readonly name: string;
  readonly log: Log;
}

export interface PartitionForCommand extends Omit<SiteMemory, 'close'> {
  readonly settings: PartitionSettings;
  readonly provider: HsmProvider;
  /** Both are absent before `partition init`. */
  readonly identity: IdentityRecord | undefined;
  readonly keyring: Keyring | undefined;
  readonly seat: Seat | undefined;
}

/** @throws NOT_FOUND, IDENTITY_MISSING, what opening a partition throws, and what `work` throws */
export async function usePartition<T>(
  { config, name, log }: CommandPlace,
  work: (open: PartitionForCommand) => Promise<T>,
): Promise<T> {
  const settings = partitionSettings(config, name);
  const memory = openSiteMemory(config);
  try {
    const { journal } = memory;
    const identity = journal.identities.of(name);
    const seat =
      identity === undefined ? undefined : journal.tenure.seats().find(({ serial }) => serial === identity.serial);
    return await besideAgent(async () => {
      const provider = await openForCommand(settings, { ...config, serial: identity?.serial ?? settings.serial, log });
      try {
        const keyring =
          identity === undefined
            ? undefined
            : await openKeyring({
                provider,
                identity,
                domainKeys: journal.domainKeys.of(identity.serial),
                announced: journal.identities.announced(identity.serial),
                otherIds: journal.identities.otherIds(identity.serial),
              });
        return await work({ ...memory, settings, provider, identity, keyring, seat });
      } finally {
        await provider.close();
      }
    });
  } finally {
    memory.close();
  }
}

/** The agent may hold the only session that the HSM gives, or the HSM may be away: the person must know what to try. */
export async function besideAgent<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (!hasCode(thrown, 'HSM_UNAVAILABLE', 'HSM_REFUSED', 'HSM_SESSION_VOID', 'HSM_WORKER_LOST')) throw thrown;
    throw new AntipodeError(thrown.code, thrown.message.replace(`[${thrown.code}] `, ''), {
      details: thrown.details,
      cause: thrown,
      hint: 'This command opens a session of its own beside the agent. Repeat it when the HSM answers. If the HSM allows only one session at a time, stop the agent while the command runs. `antipode deleted list` and `antipode partition attributes` ask no HSM.',
    });
  }
}
