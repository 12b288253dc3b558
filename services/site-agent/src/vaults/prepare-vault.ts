/**
 * Takes a Backup HSM of this site out of its factory state, for a command that a person runs beside the agent. The driver
 * initialises a device only where the same run shows that it has nothing to lose. Nothing is found out by itself here:
 * the site names the device and its label in its configuration, and the operators approve it where the site guards the
 * group of its partition.
 */
import type { PrepareReport, PrepareStep } from '@antipode/hsm-core/luna';
import type { SignedApproval } from '@antipode/protocol';
import { AntipodeError, type Log, readPinFile, type Secret, sha256Hex, systemPrng } from '@antipode/runtime';
import { openSiteMemory } from '../commands/beside-agent.ts';
import type { AgentConfig, VaultSettings } from '../config.ts';
import { useApproval } from '../objects/deleted-objects.ts';
import { LunaVault } from './luna-vault.ts';

export interface PrepareVaultOptions {
  readonly config: AgentConfig;
  /** The name of the vault in the configuration. */
  readonly name: string;
  /** The serial number as the operator has typed it. */
  readonly serial: string;
  /** The file with the secret of the cloning domain. */
  readonly domainFile: string;
  /** Policy 55. */
  readonly restrictedRestore: boolean;
  /** Files with the two strings that came with the device. */
  readonly transport?: { readonly randomUserStringFile: string; readonly verificationStringFile: string };
  readonly approval?: SignedApproval | undefined;
  readonly onStep?: (step: PrepareStep) => void;
  readonly log: Log;
}

/** The object of an approval of the action `prepare-vault` that allows to prepare this very device under this label. */
export const preparationOf = ({ serial, label }: Pick<VaultSettings, 'serial' | 'label'>): string =>
  sha256Hex(`antipode prepare vault v1\0${serial}\0${label}`);

/**
 * @throws NOT_FOUND, USAGE, APPROVAL_REQUIRED and its like, PIN_FILE_UNREADABLE, PIN_FILE_EXPOSED, LUNA_HUMAN_NEEDED,
 * LUNA_BUSY, LUNA_REFUSED, and what stops the reading
 */
export async function prepareVault(options: PrepareVaultOptions): Promise<PrepareReport> {
  const { config, name, serial, domainFile, restrictedRestore, transport, onStep, log } = options;
  const settings = vaultNamed(config, name);
  if (settings.serial !== serial)
    throw new AntipodeError('USAGE', `vault ${name} has serial number ${settings.serial} here, and not ${serial}`, {
      details: { field: 'serial' },
      hint: 'Compare the number on the device with `slot list` of lunacm and with agent.yaml. Nothing was changed.',
    });
  const { dataFolder, partitions } = config;
  const partition = partitions.find((one) => one.name === settings.partition.name)!;
  const secrets: Secret[] = [];
  const secretOf = (file: string): Secret => {
    const secret = readPinFile(file);
    secrets.push(secret);
    return secret;
  };
  const textOf = (file: string): string => secretOf(file).expose((bytes) => Buffer.from(bytes).toString());
  const memory = openSiteMemory(config);
  try {
    const { journal, clock } = memory;
    const vault = new LunaVault({
      ...{ settings, partition, dataFolder, clock, prng: systemPrng, log, jobs: 'jobs-by-hand' },
    });
    const order = {
      vault: vault.address,
      password: secretOf(settings.officerPasswordFile),
      domain: secretOf(domainFile),
      restrictedRestore,
      ...(transport === undefined
        ? {}
        : {
            transport: {
              randomUserString: textOf(transport.randomUserStringFile),
              verificationString: textOf(transport.verificationStringFile),
            },
          }),
      ...(onStep === undefined ? {} : { onStep }),
    };
    const serialOf = journal.identities.of(partition.name)?.serial;
    // Everything that can be read is read by now. The use is on record before the device is changed.
    for (const seat of journal.tenure.seats().filter((one) => one.serial === serialOf))
      useApproval(
        { journal, seat, clock },
        {
          ...{ config, group: seat.group, approval: options.approval, log },
          ...{ action: 'prepare-vault', objects: [preparationOf(settings)] },
        },
      );
    return await vault.driver.prepareVault(order, [{ action: 'prepare vault', target: vault.address }]);
  } finally {
    memory.close();
    for (const secret of secrets) secret.wipe();
  }
}

function vaultNamed({ vaults }: AgentConfig, name: string): VaultSettings {
  const found = vaults.find((one) => one.name === name);
  if (found !== undefined) return found;
  throw new AntipodeError('NOT_FOUND', `this site has no vault ${name} in its configuration`, {
    details: { vault: name },
    hint:
      vaults.length === 0
        ? 'Declare it under `vaults` of agent.yaml first (docs/devices/luna.md), with the label that it is to have.'
        : `Its vaults are: ${vaults.map((one) => one.name).join(', ')}.`,
  });
}
