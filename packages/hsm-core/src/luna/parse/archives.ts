/** What `partition archive list` says of a Backup HSM: its space, and the backups that it has. */
import { AntipodeError } from '@antipode/runtime';
import type { Phrases } from '../phrases.ts';
import { countOf, fieldOf, isNamed, recordsOf } from './fields.ts';

export interface Archive {
  readonly name: string;
  readonly totalBytes: number;
  readonly usedBytes: number;
  readonly objectCount: number;
}

export interface Vault {
  readonly freeBytes: number | undefined;
  readonly archives: readonly Archive[];
}

/** @throws LUNA_OUTPUT_UNCLEAR */
export function vaultIn(lines: readonly string[], phrases: Phrases): Vault {
  const { archiveName, archiveTotal, archiveUsed, archiveObjects, vaultFree, partitionCount } = phrases;
  const first = lines.findIndex((line) => {
    const field = fieldOf(line);
    return field !== undefined && isNamed(field, archiveName.pattern);
  });
  const head = first === -1 ? lines : lines.slice(0, first);
  const records = recordsOf(first === -1 ? [] : lines.slice(first), {
    first: archiveName.pattern,
    needed: [archiveName.pattern, archiveTotal.pattern, archiveUsed.pattern, archiveObjects.pattern],
  });
  if (records === undefined) throw unclear('its backups are not listed alike');
  const said = head.map((line) => partitionCount.pattern.exec(line)?.[1]).find((count) => count !== undefined);
  if (said === undefined) throw unclear('it does not say how many backups there are');
  if (Number(said) !== records.length)
    throw unclear(`it lists ${records.length} backups, and says that it has ${Number(said)}`);
  const archives = records.map(([name = '', total, used, count]) => ({
    name,
    totalBytes: numberIn(total),
    usedBytes: numberIn(used),
    objectCount: numberIn(count),
  }));
  if (new Set(archives.map(({ name }) => name)).size !== archives.length)
    throw unclear('two backups have the same name');
  return { archives, freeBytes: countOf(head, vaultFree.pattern) };
}

/** The backups that hold space which they do not use: a run that was cut off can leave one that holds all of it. */
export function holdersOf({ archives }: Vault): Archive[] {
  return archives
    .filter(({ totalBytes, usedBytes }) => totalBytes > usedBytes)
    .sort((a, b) => b.totalBytes - b.usedBytes - (a.totalBytes - a.usedBytes));
}

function numberIn(value = ''): number {
  if (!/^\d{1,15}$/.test(value)) throw unclear('a size or a number of objects is not a number');
  return Number(value);
}

function unclear(why: string): AntipodeError {
  return new AntipodeError('LUNA_OUTPUT_UNCLEAR', `the list of backups cannot be read: ${why}`);
}
