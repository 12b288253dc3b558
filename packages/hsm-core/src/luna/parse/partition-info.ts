/** What `partition showinfo` and `hsm showinfo` say; both need no login. */
import type { Phrases } from '../phrases.ts';
import { countOf, fieldOf, fieldValue } from './fields.ts';

export interface PartitionInfo {
  readonly serial: string | undefined;
  readonly label: string | undefined;
  readonly isZeroized: boolean;
  readonly isInTransport: boolean;
  /** The masking keys that a partition has, by name. Two partitions with the same ones can read each other's blobs. */
  readonly maskingKeys: ReadonlyMap<string, string>;
  readonly freeBytes: number | undefined;
  readonly usedBytes: number | undefined;
  readonly objectCount: number | undefined;
  readonly firmware: string | undefined;
  /** Undefined if no line says it. */
  readonly isFips: boolean | undefined;
  /** How far the clock of the HSM is from that of its host. */
  readonly clockDifferenceSeconds: number | undefined;
  /** Whether functionality modules are on. */
  readonly hasFm: boolean | undefined;
}

const PRIMARY_KEY = 'SMK-FW7-Primary';

export function partitionInfoIn(lines: readonly string[], phrases: Phrases): PartitionInfo {
  const isOff = lines.some((line) => phrases.fipsOff.pattern.test(line));
  const isOn = lines.some((line) => phrases.fipsOn.pattern.test(line));
  const status = fieldValue(lines, 'Partition Status') ?? fieldValue(lines, 'HSM Status') ?? '';
  const fm = fieldValue(lines, 'FM HW Status') ?? '';
  const isFmOn = phrases.fmOn.pattern.test(fm);
  const [, difference] = /^(\d+) sec/.exec(fieldValue(lines, 'Difference') ?? '') ?? [];
  return {
    serial: fieldValue(lines, 'Partition Serial Number') ?? fieldValue(lines, 'HSM Serial Number'),
    label: fieldValue(lines, 'Partition Label') ?? fieldValue(lines, 'HSM Label'),
    isZeroized: /zeroized/i.test(status),
    isInTransport: phrases.transportStatus.pattern.test(status),
    maskingKeys: maskingKeysIn(lines),
    freeBytes: countOf(lines, 'Free Storage Space'),
    usedBytes: countOf(lines, 'Used Storage Space'),
    objectCount: countOf(lines, 'Object Count'),
    firmware: fieldValue(lines, 'Firmware Version'),
    isFips: isOff === isOn ? undefined : isOn,
    clockDifferenceSeconds: difference === undefined ? undefined : Number(difference),
    hasFm: isFmOn === phrases.fmOff.pattern.test(fm) ? undefined : isFmOn,
  };
}

/** The key that new blobs are under; undefined if the partition has no masking key. */
export const primaryMaskingKey = ({ maskingKeys }: PartitionInfo): string | undefined => maskingKeys.get(PRIMARY_KEY);

function maskingKeysIn(lines: readonly string[]): Map<string, string> {
  const keys = new Map<string, string>();
  for (const line of lines) {
    const field = fieldOf(line);
    if (field?.name.startsWith('SMK-') && /^[0-9a-f]{24}$/i.test(field.value))
      keys.set(field.name, field.value.toLowerCase());
  }
  return keys;
}
