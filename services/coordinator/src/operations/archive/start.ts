/** Starts work with a vault, for an operator or a calendar. */
import type { ArchiveWorkName } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';
import type { Group, Seat } from '../../model.ts';
import type { Write } from '../../store/store.ts';
import type { Reconciler } from '../reconciler.ts';
import type { ArchiveState, ArchiveTarget } from './machine.ts';

export interface WantedWork {
  readonly group: Group;
  readonly vault: Seat;
  readonly work: ArchiveWorkName;
  readonly backup: string;
  readonly isScheduled: boolean;
}

/** Makes the intent, or finds one that is open at that site: it can be for other work. */
export async function startArchive(
  { reconciler }: { reconciler: Pick<Reconciler, 'intend'> },
  { group, vault, work, backup, isScheduled }: WantedWork,
  isWanted?: (trx: Write) => Promise<boolean>,
): Promise<{ id: string; isNew: boolean }> {
  const target: ArchiveTarget = { work, serial: vault.serial, backup, isScheduled };
  const state: ArchiveState = { phase: 'due', target };
  return reconciler.intend({ kind: 'archive', group: group.spec.name, site: vault.site, state, trace: {} }, isWanted);
}

/** The vault that an operator means. @throws NOT_FOUND */
export function vaultOf({ spec }: Pick<Group, 'spec'>, { site, serial }: Seat): Seat {
  const named = (spec.archives ?? []).filter(
    (one) => (site === '' || one.site === site) && (serial === '' || one.serial === serial),
  );
  const [vault] = named;
  if (vault !== undefined && named.length === 1) return vault;
  const where = site === '' ? '' : ` at site ${site}`;
  throw new AntipodeError(
    'NOT_FOUND',
    vault === undefined
      ? `group ${spec.name} has no archive${where}`
      : `group ${spec.name} has ${named.length} archives${where}: name one`,
    {
      details: { group: spec.name },
      hint:
        vault === undefined
          ? `Declare one: \`antipode group set-archive ${spec.name} --archive SITE=SERIAL\`, with the serial number of the vault.`
          : 'Name it with --site, and with --vault if a site has several.',
    },
  );
}
