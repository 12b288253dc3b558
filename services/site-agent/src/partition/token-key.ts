/**
 * An operator's steps by which a SoftHSM token comes to share the token key of another (ADR 0056). The messages are files,
 * which operators carry between the sites. Each operator names the partition of the other site as a pin does.
 */
import {
  acceptSharing,
  type ConfirmedPartition,
  grantFrom,
  grantSharing,
  type IdentityRecord,
  type PartitionConfig,
  requestFrom,
  requestSharing,
  sharingTextOf,
} from '@antipode/hsm-core';
import { AntipodeError, hex, lockFolder, readTextFile, requireNoFile, writeNewFile } from '@antipode/runtime';
import { type AgentConfig, partitionConfig } from '../config.ts';
import { type Pin, peerFrom } from '../peers/pins.ts';
import { Journal } from '../storage/journal/journal.ts';
import { partitionSettings } from './administration.ts';

interface Step {
  readonly config: Pick<AgentConfig, 'site' | 'dataFolder' | 'partitions'>;
  readonly name: string;
}

/** Asks for the token key of `giver`, as SITE=SERIAL=SHA256. @throws FILE_EXISTS, TOKEN_STORE_UNUSABLE, IDENTITY_MISSING */
export async function requestTokenKey(step: Step & { readonly giver: string; readonly out: string }): Promise<void> {
  const giver = confirmed(step.giver);
  requireNoFile(step.out);
  write(step.out, sharingTextOf(await requestSharing({ partition: partitionOf(step), giver })));
}

/** Grants the request of `taker`. @throws FILE_EXISTS, PEER_NOT_PINNED, TOKEN_KEY_REFUSED */
export async function grantTokenKey(
  step: Step & { readonly requestFile: string; readonly taker: string; readonly out: string },
): Promise<void> {
  const taker = confirmed(step.taker);
  requireNoFile(step.out);
  const request = requestFrom(read(step.requestFile));
  write(step.out, sharingTextOf(await grantSharing({ partition: partitionOf(step), request, taker })));
}

/**
 * Takes the key in the grant over. The agent must not run: its HSM worker would keep the old key.
 * @throws FILE_EXISTS, PEER_NOT_PINNED, TOKEN_KEY_REFUSED, TOKEN_STORE_UNUSABLE
 */
export async function acceptTokenKey(
  step: Step & {
    readonly requestFile: string;
    readonly grantFile: string;
    readonly giver: string;
    readonly officerPinFile: string;
  },
): Promise<{ readonly cloningDomain: string }> {
  const giver = confirmed(step.giver);
  const [request, grant] = [requestFrom(read(step.requestFile)), grantFrom(read(step.grantFile))];
  const lock = lockFolder(step.config.dataFolder, { program: 'agent' });
  try {
    const { officerPinFile } = step;
    const domain = await acceptSharing({ partition: partitionOf(step), request, grant, giver, officerPinFile });
    return { cloningDomain: hex(domain) };
  } finally {
    await lock.close();
  }
}

function partitionOf({ config, name }: Step): { config: PartitionConfig; identity: IdentityRecord } {
  const settings = partitionSettings(config, name);
  if (settings.identityPartition !== undefined)
    throw new AntipodeError('CONFIG_INVALID', `partition ${name} has its identity key in another token`, {
      details: { field: 'identityPartition' },
      hint: 'Share the token key before the identity is moved, or with a partition that keeps its identity key.',
    });
  const journal = Journal.open(config.dataFolder, { site: config.site });
  try {
    const identity = journal.identities.of(name);
    if (identity === undefined)
      throw new AntipodeError('IDENTITY_MISSING', `partition ${name} has no identity yet`, {
        details: { partition: name },
        hint: `Run \`antipode partition init ${name}\` first.`,
      });
    const { dataFolder } = config;
    return { config: partitionConfig(settings, { dataFolder, serial: identity.serial }), identity };
  } finally {
    journal.close();
  }
}

function confirmed(peer: string): ConfirmedPartition {
  const { serial, identity }: Pin = peerFrom(peer, 'member');
  return { serial, identitySha256: identity };
}

const write = (path: string, text: string): void => writeNewFile(path, text, { mode: 0o600 });

const read = (path: string): string => readTextFile(path, 'FILE_UNWRITABLE');
