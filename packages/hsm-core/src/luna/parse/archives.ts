/** What `partition archive list` says of a Backup HSM: its space, and the backups that it has. */
import { AntipodeError } from '@antipode/runtime';
import type { Phrases } from '../phrases.ts';
import { countOf, recordsOf } from './fields.ts';

export interface Archive {
  readonly name: string;
  readonly totalBytes: number;
  readonly usedBytes: number;
  readonly objectCount: number;
}

export interface Vault {
  readonly freeBytes: number | undefined;
  readonly partitionsAllowed: number | undefined;
  readonly archives: readonly Archive[];
}

/** @throws LUNA_OUTPUT_UNCLEAR */
export function vaultIn(lines: readonly string[], phrases: Phrases): Vault {
  const first = lines.findIndex((line) => /^\s*Name\s*(?:->|:)/i.test(line));
  const head = first === -1 ? lines : lines.slice(0, first);
  const records = recordsOf(first === -1 ? [] : lines.slice(first), {
    first: 'Name',
    needed: ['Total Storage Size', 'Used Storage Size', 'Number Of Objects'],
  });
  if (records === undefined) throw unclear('its backups are not listed alike');
  const said = head.map((line) => phrases.partitionCount.pattern.exec(line)?.[1]).find((count) => count !== undefined);
  if (said === undefined) throw unclear('it does not say how many backups there are');
  if (Number(said) !== records.length)
    throw unclear(`it lists ${records.length} backups, and says that it has ${Number(said)}`);
  const archives = records.map((record) => ({
    name: record.get('name')!,
    totalBytes: numberOf(record, 'Total Storage Size'),
    usedBytes: numberOf(record, 'Used Storage Size'),
    objectCount: numberOf(record, 'Number Of Objects'),
  }));
  if (new Set(archives.map(({ name }) => name)).size !== archives.length)
    throw unclear('two backups have the same name');
  return {
    archives,
    freeBytes: countOf(head, 'Free HSM Storage Space') ?? countOf(head, 'Free Storage Space'),
    partitionsAllowed: countOf(head, 'Allowed Partitions'),
  };
}

/** The backups that hold space which they do not use: a run that was cut off can leave one that holds all of it. */
export function holdersOf({ archives }: Vault): Archive[] {
  return archives
    .filter(({ totalBytes, usedBytes }) => totalBytes > usedBytes)
    .sort((a, b) => b.totalBytes - b.usedBytes - (a.totalBytes - a.usedBytes));
}

function numberOf(record: ReadonlyMap<string, string>, name: string): number {
  const value = record.get(name.toLowerCase()) ?? '';
  if (!/^\d{1,15}$/.test(value)) throw unclear(`${name} is not a number`);
  return Number(value);
}

function unclear(why: string): AntipodeError {
  return new AntipodeError('LUNA_OUTPUT_UNCLEAR', `the list of backups cannot be read: ${why}`);
}
