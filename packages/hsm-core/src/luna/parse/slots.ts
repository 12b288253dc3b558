/** The banner of `lunacm`, and its list of slots. A slot has a number for the length of one session only. */
import { AntipodeError } from '@antipode/runtime';
import type { Phrases } from '../phrases.ts';
import { countOf, fieldValue, recordsOfLoose } from './fields.ts';

export interface ClientVersion {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
  readonly build: number | undefined;
}

export interface Slot {
  /** Not stable: valid in the session that reported it. */
  readonly number: number;
  /** Empty for a partition that is not initialised. */
  readonly label: string;
  /** Text: Luna 7 has 12 or 13 digits, older ones have 9. */
  readonly serial: string;
  readonly model: string;
  readonly firmware: string;
  readonly configuration: string;
  readonly description: string;
  /** A slot of the client's high availability. It hides its members and takes no administration. */
  readonly isVirtual: boolean;
  /** Whether people with a PED log in, by the configuration; undefined if it does not say. */
  readonly isPed: boolean | undefined;
}

export function clientVersionIn(lines: readonly string[], phrases: Phrases): ClientVersion | undefined {
  for (const line of lines) {
    const [, major, minor, patch, build] = phrases.banner.pattern.exec(line) ?? [];
    if (major === undefined) continue;
    return {
      major: Number(major),
      minor: Number(minor),
      patch: Number(patch),
      build: build === undefined ? undefined : Number(build),
    };
  }
  return undefined;
}

/**
 * The slots of a start-up or of `slot list`. Unknown lines are passed over: clients print some that nobody can explain.
 * @throws LUNA_OUTPUT_UNCLEAR if a slot has no serial number, or two slots have the same number
 */
export function slotsIn(lines: readonly string[], phrases: Phrases): Slot[] {
  const end = lines.findIndex((line) => /^\s*Current Slot Id\s*:/i.test(line));
  const records = recordsOfLoose(end === -1 ? lines : lines.slice(0, end), 'Slot Id');
  const slots = records.map((record) => slotOf(record, phrases));
  const numbers = new Set(slots.map(({ number }) => number));
  if (numbers.size !== slots.length) throw unclear('two slots have the same number');
  return slots;
}

function slotOf(record: readonly string[], phrases: Phrases): Slot {
  const number = countOf(record, 'Slot Id');
  const serial = fieldValue(record, 'Serial Number');
  if (number === undefined || serial === undefined || serial === '') throw unclear('a slot has no serial number');
  const configuration = fieldValue(record, 'Configuration') ?? '';
  const description = fieldValue(record, 'Slot Description') ?? '';
  const model = fieldValue(record, 'Model') ?? '';
  const [, authentication] = /\((PW|PED)\)/i.exec(configuration) ?? [];
  const { pattern } = phrases.virtualSlot;
  return {
    number,
    serial,
    model,
    configuration,
    description,
    label: fieldValue(record, 'Label') ?? '',
    firmware: fieldValue(record, 'Firmware Version') ?? '',
    isVirtual: pattern.test(description) || pattern.test(model),
    isPed: authentication === undefined ? undefined : authentication.toUpperCase() === 'PED',
  };
}

/** The number alone: a long description with brackets of its own follows it. */
export function currentSlotIn(lines: readonly string[]): number | undefined {
  for (const line of lines) {
    const [, number] = /^\s*Current Slot Id\s*:\s*(\d+)\b/i.exec(line) ?? [];
    if (number !== undefined) return Number(number);
  }
  return undefined;
}

function unclear(why: string): AntipodeError {
  return new AntipodeError('LUNA_OUTPUT_UNCLEAR', `the list of slots cannot be read: ${why}`);
}
