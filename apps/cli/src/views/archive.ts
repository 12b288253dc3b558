/** Vaults for people. */
import type { GroupArchive, GroupState } from '@antipode/protocol';
import { duration, table } from '../output.ts';

const age = (ms: bigint | undefined): string => (ms === undefined ? '-' : duration(ms));

export const archiveTable = (archives: readonly GroupArchive[]): string =>
  table(
    ['SITE', 'VAULT', 'STATE', 'GENERATION', 'AGE', 'PROVEN', 'PROVEN AGE', 'NEXT'],
    archives.map(({ site, serial, name, state, generation, ageMs, proven, provenAgeMs, reminder }) => [
      site,
      name === '' ? serial : `${name} (${serial})`,
      state,
      generation === undefined ? '-' : String(generation.generation),
      age(ageMs),
      proven === undefined ? 'never' : String(proven.generation),
      age(provenAgeMs),
      reminder || '-',
    ]),
  );

/** One line for each vault, for the status of all groups. */
export const archiveLines = (groups: readonly GroupState[]): string[] =>
  groups.flatMap(({ spec, archives }) =>
    archives.map(({ site, serial, state, generation, ageMs, proven, provenAgeMs, reminder, lastFailure }) => {
      const has =
        generation === undefined ? 'no complete backup' : `generation ${generation.generation}, ${age(ageMs)} old`;
      const shown =
        proven === undefined ? 'never proven' : `generation ${proven.generation} proven ${age(provenAgeMs)} ago`;
      const failed = lastFailure === '' ? '' : `; last attempt: ${lastFailure}`;
      const next = reminder === '' ? '' : ` ${reminder}`;
      return `archive of ${spec?.name ?? ''} at site ${site} (vault ${serial}) is ${state}: ${has}; ${shown}${failed}.${next}`;
    }),
  );
