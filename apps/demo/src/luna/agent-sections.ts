/** The sections for Luna devices in agent.yaml (docs/howto/native.md). */
import { join } from 'node:path';
import { AntipodeError } from '@antipode/runtime';
import type { EmulatedDevices, EmulatedPartition, Slot } from './emulated-devices.ts';

/** A partition of another site, and the file that has its PIN at this site. */
export interface Source extends Slot {
  readonly pinFile: string;
}

export interface VaultPlan extends Slot {
  readonly officerPasswordFile: string;
  readonly backupPasswordFile: string;
  readonly partition: Slot;
  readonly scratch: EmulatedPartition;
}

/** A name that people give to the cloning domain of the devices. */
const DOMAIN = 'payments';

/** Adds the client of the site to agent.yaml, the partitions that it clones from, and its vault if it has one. */
export function withLuna(
  agentYaml: string,
  { devices, sources, vault }: { devices: EmulatedDevices; sources: readonly Source[]; vault?: VaultPlan },
): string {
  const { folder, lunacm, environment } = devices;
  // All agents reach the same devices: failed logins and locks are known to all of them.
  const shared = { records: join(folder, 'records'), locks: join(folder, 'locks') };
  const native = JSON.stringify({ kind: 'luna', domain: DOMAIN, sources });
  const configured = agentYaml.replace(
    /^( *)- name: main$/m,
    (line, indent) => `${line}\n${indent}  native: ${native}`,
  );
  if (configured === agentYaml) throw new AntipodeError('CONFIG_INVALID', 'agent.yaml has no partition main');
  const sections = [`luna: ${JSON.stringify({ lunacm, configuration: folder, environment, ...shared })}`];
  if (vault !== undefined) {
    const { serial, label, officerPasswordFile, backupPasswordFile, partition, scratch } = vault;
    const section = {
      name: 'vault',
      ...{ serial, label, officerPasswordFile, backupPasswordFile },
      partition: { name: 'main', serial: partition.serial, label: partition.label },
      scratch: {
        ...{ serial: scratch.serial, label: scratch.label, pinFile: scratch.token.pinFile },
        environment: scratch.token.environment,
      },
    };
    sections.push(`vaults: ${JSON.stringify([section])}`);
  }
  return `${configured}${sections.join('\n')}\n`;
}
