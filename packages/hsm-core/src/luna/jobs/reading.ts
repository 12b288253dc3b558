/** Jobs that change nothing. Each is a run of its own, apart from those that act: what they list is free text. */
import { AntipodeError, hasCode, type Secret } from '@antipode/runtime';
import type { PartitionAddress } from '../approvals.ts';
import { runBatch } from '../batch.ts';
import {
  archiveContents,
  archiveList,
  hsmShowPolicies,
  partitionContents,
  partitionShowPolicies,
  type Role,
  roleShow,
  slotList,
} from '../commands.ts';
import type { Login } from '../login.ts';
import { type Vault, vaultIn } from '../parse/archives.ts';
import { type ListedObject, objectsIn } from '../parse/contents.ts';
import type { PartitionInfo } from '../parse/partition-info.ts';
import { type Policies, policiesIn } from '../parse/policies.ts';
import { type RoleState, roleStateIn } from '../parse/role-state.ts';
import { type ClientVersion, clientVersionIn, type Slot, slotsIn } from '../parse/slots.ts';
import { read, readingError, type Shown } from '../selection.ts';
import { Transcript } from '../transcript.ts';
import { inReadingRun, type JobPorts } from './job-ports.ts';

export interface Survey {
  readonly version: ClientVersion | undefined;
  readonly slots: readonly Slot[];
}

/**
 * The client and the slots that it sees. A tool that writes nothing until it ends is given a file.
 * @throws LUNA_UNREACHED, LUNA_OUTPUT_UNCLEAR, LUNA_REFUSED
 */
export async function survey(ports: JobPorts): Promise<Survey> {
  const { phrases, settings, profile } = ports;
  if (profile.buffering === 'line')
    return inReadingRun('survey', ports, async ({ session: { version, slots } }) => ({ version, slots }));
  const transcript = new Transcript();
  try {
    const [reply] = await runBatch([slotList], { ...ports, transcript, limits: settings.limits });
    if (reply?.outcome !== 'done') throw readingError(reply!);
    // The list of the start comes first, and that of the command after it.
    const last = reply.lines.findLastIndex((line) => /^\s*Available HSMs/i.test(line));
    const list = last === -1 ? reply.lines : reply.lines.slice(last);
    const starts = list.findIndex((line) => /^\s*Current Slot Id/i.test(line));
    const rest = starts === -1 ? list : list.slice(starts + 1);
    const slots = slotsIn(rest.some((line) => /^\s*Slot Id\b/i.test(line)) ? rest : list, phrases);
    return { version: clientVersionIn(reply.lines, phrases), slots };
  } finally {
    ports.transcripts.keep('survey', transcript.text());
  }
}

export interface Examination {
  readonly slot: Slot;
  readonly info: PartitionInfo;
  readonly policies: Policies;
  /** Roles whose state the tool showed. */
  readonly roles: ReadonlyMap<Role, RoleState>;
}

/** @throws PARTITION_NOT_FOUND, LUNA_SLOT_VIRTUAL, LUNA_UNREACHED, LUNA_OUTPUT_UNCLEAR, LUNA_REFUSED */
export function examine(address: PartitionAddress, shown: Shown, ports: JobPorts): Promise<Examination> {
  return inReadingRun('examine', ports, async (run) => {
    const selected = await run.select(address, shown);
    const lines = await read(run.session, shown === 'device' ? hsmShowPolicies : partitionShowPolicies);
    const roles = new Map<Role, RoleState>();
    for (const role of shown === 'device' ? (['so'] as const) : (['po', 'co'] as const)) {
      const reply = await run.session.run(roleShow(role));
      if (reply.outcome === 'done') roles.set(role, roleStateIn(reply.lines, ports.phrases));
    }
    return { ...selected, roles, policies: policiesIn(lines, ports.phrases) };
  });
}

export interface PartitionContents {
  readonly info: PartitionInfo;
  readonly objects: readonly ListedObject[];
}

/** @throws what `examine` throws, and what a login throws */
export function partitionObjects(address: PartitionAddress, login: Login, ports: JobPorts): Promise<PartitionContents> {
  return inReadingRun('contents', ports, async (run) => {
    const { info } = await run.select(address, 'partition');
    await run.logIn(login, address);
    const objects = objectsIn(await read(run.session, partitionContents), ports.phrases);
    // Roles see less than there is, never more.
    if (info.objectCount !== undefined && objects.length > info.objectCount)
      throw new AntipodeError('LUNA_OUTPUT_UNCLEAR', 'more objects are listed than the partition has');
    return { info, objects };
  });
}

/** @throws what `examine` throws */
export function vaultState(address: PartitionAddress, ports: JobPorts): Promise<Vault> {
  return inReadingRun('vault', ports, async (run) => {
    const { slot } = await run.select(address, 'device');
    return vaultIn(await read(run.session, archiveList(slot.number)), ports.phrases);
  });
}

export interface ArchiveSource {
  readonly vault: PartitionAddress;
  readonly partition: string;
  readonly password: Secret;
}

/** @throws what `examine` throws */
export function archiveObjects(
  { vault, partition, password }: ArchiveSource,
  ports: JobPorts,
): Promise<ListedObject[]> {
  return inReadingRun('archive-contents', ports, async (run) => {
    const { slot } = await run.select(vault, 'device');
    const lines = await read(run.session, archiveContents({ slot: slot.number, partition, password }));
    return objectsIn(lines, ports.phrases);
  });
}

/** A list that cannot be had after an act leaves its outcome unknown. It is not an error of the job. */
export async function orUnlisted<T>(list: Promise<T>): Promise<T | undefined> {
  try {
    return await list;
  } catch (cause) {
    if (
      hasCode(
        cause,
        ...(['LUNA_UNREACHED', 'LUNA_OUTPUT_UNCLEAR', 'LUNA_REFUSED', 'LUNA_OUTCOME_UNKNOWN'] as const),
        ...(['PARTITION_NOT_FOUND', 'PIN_LOCKED', 'PIN_REFUSED', 'LUNA_HUMAN_NEEDED', 'LUNA_BUSY'] as const),
      )
    )
      return undefined;
    throw cause;
  }
}
