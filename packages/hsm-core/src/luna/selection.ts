/** Goes to a slot by the serial number and label of its partition, and makes sure that it is there. */
import { AntipodeError } from '@antipode/runtime';
import type { PartitionAddress } from './approvals.ts';
import { type Command, hsmShowInfo, partitionShowInfo, slotSet } from './commands.ts';
import type { LunacmSession, Reply } from './lunacm-session.ts';
import { type PartitionInfo, partitionInfoIn } from './parse/partition-info.ts';
import { currentSlotIn, type Slot } from './parse/slots.ts';
import type { Phrases } from './phrases.ts';

/** A slot shows a partition of applications, or the device itself, as that of a Backup HSM does. */
export type Shown = 'partition' | 'device';

export interface Selected {
  readonly slot: Slot;
  readonly info: PartitionInfo;
}

/** @throws PARTITION_NOT_FOUND, LUNA_SLOT_VIRTUAL */
export function slotOf(slots: readonly Slot[], { serial, label }: PartitionAddress, isHaOnly: boolean): Slot {
  const details = { serial, slots: slots.length };
  const found = slots.filter((slot) => slot.serial === serial);
  const [slot] = found;
  if (slot?.isVirtual || (slot === undefined && (isHaOnly || slots.some(({ isVirtual }) => isVirtual))))
    throw new AntipodeError('LUNA_SLOT_VIRTUAL', 'the client shows virtual slots only', { details });
  if (slot === undefined)
    throw new AntipodeError('PARTITION_NOT_FOUND', `no slot of lunacm has the serial number ${serial}`, {
      details,
      hint: 'Compare with `slot list` of lunacm. A partition is missing where its appliance does not answer.',
    });
  if (found.length > 1)
    throw new AntipodeError('PARTITION_NOT_FOUND', `${found.length} slots have the serial number ${serial}`, {
      details,
    });
  if (slot.label !== label)
    throw new AntipodeError(
      'PARTITION_NOT_FOUND',
      `the partition ${serial} has another label than the configured one`,
      {
        details,
        hint: 'Compare both with `slot list` of lunacm. A label that changed can mean that the partition was initialised again.',
      },
    );
  return slot;
}

export interface SelectionOptions {
  readonly phrases: Phrases;
  readonly isHaOnly: boolean;
  readonly shown: Shown;
}

/** @throws PARTITION_NOT_FOUND, LUNA_SLOT_VIRTUAL, LUNA_OUTPUT_UNCLEAR, LUNA_UNREACHED, LUNA_REFUSED */
export async function select(
  session: LunacmSession,
  address: PartitionAddress,
  { phrases, isHaOnly, shown }: SelectionOptions,
): Promise<Selected> {
  const slot = slotOf(session.slots, address, isHaOnly);
  const lines = await read(session, slotSet(slot.number));
  if (currentSlotIn(lines) !== slot.number)
    throw new AntipodeError('LUNA_OUTPUT_UNCLEAR', 'lunacm does not say that it is at the slot that was asked for');
  return { slot, info: await verify(session, address, { phrases, shown }) };
}

/** For a device that has its label not yet, or has it already. @throws what `select` throws */
export function selectUnder(
  run: { readonly session: LunacmSession; select(address: PartitionAddress, shown: Shown): Promise<Selected> },
  { serial, label }: PartitionAddress,
  labels: readonly string[],
): Promise<Selected> {
  const found = run.session.slots.find((slot) => slot.serial === serial)?.label;
  return run.select({ serial, label: found !== undefined && labels.includes(found) ? found : label }, 'device');
}

/**
 * Reads where the session is, right before it acts: what a slot number means can change.
 * @throws LUNA_OUTPUT_UNCLEAR, LUNA_UNREACHED, LUNA_REFUSED
 */
export async function verify(
  session: LunacmSession,
  { serial, label }: PartitionAddress,
  { phrases, shown }: Pick<SelectionOptions, 'phrases' | 'shown'>,
): Promise<PartitionInfo> {
  const info = partitionInfoIn(await read(session, shown === 'device' ? hsmShowInfo : partitionShowInfo), phrases);
  if (info.serial !== serial || info.label !== label)
    throw new AntipodeError('LUNA_OUTPUT_UNCLEAR', 'the current slot is not the partition that was asked for', {
      details: { serial },
    });
  return info;
}

/**
 * The lines of a command that changes nothing.
 * @throws LUNA_UNREACHED if it had no known outcome, LUNA_REFUSED
 */
export async function read(session: LunacmSession, command: Command): Promise<readonly string[]> {
  const reply = await session.run(command);
  if (reply.outcome === 'done') return reply.lines;
  throw readingError(reply);
}

export function readingError(reply: Exclude<Reply, { outcome: 'done' }>): AntipodeError {
  if (reply.outcome === 'failed')
    return new AntipodeError('LUNA_REFUSED', 'lunacm refused to read', { details: { code: reply.failure.code } });
  const why = reply.outcome === 'unknown' ? reply.why : reply.outcome;
  return new AntipodeError('LUNA_UNREACHED', `a command of lunacm that only reads had no outcome: ${why}`);
}
