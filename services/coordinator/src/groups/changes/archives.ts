/** Plans for other vaults of a group. Vaults vote in nothing, and no domain key is brought to them. Pure. */

import { GroupSpecSchema } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import type { Seat } from '../../model.ts';
import { archivePolicyOf } from '../../model.ts';
import { checkArchives, specFrom, specMessage } from '../group-spec.ts';
import type { ChangePlan } from './change.ts';
import { type ChangeFacts, seatText } from './facts.ts';
import { obstacleOf } from './members.ts';

/** @throws REQUEST_INVALID */
export function planArchives({ group, detector, open }: ChangeFacts, wanted: readonly Seat[]): ChangePlan {
  const { spec: before, revision, members, joining } = group;
  const archives = wanted.map(({ site, serial }) => ({ site, serial }));
  const spec = specFrom(create(GroupSpecSchema, specMessage({ ...before, archives })));
  const has = (vaults: readonly Seat[] = [], one: Seat): boolean =>
    vaults.some((vault) => seatText(vault) === seatText(one));
  const added = wanted.filter((vault) => !has(before.archives, vault));
  const removed = (before.archives ?? []).filter((vault) => !has(wanted, vault));
  const { everyMs, keep } = archivePolicyOf(spec);
  const busy = open.find(({ kind, site }) => kind === 'archive' && removed.some((vault) => vault.site === site));
  const obstacle =
    busy === undefined
      ? obstacleOf(() => checkArchives(added, [...members, ...joining], detector))
      : { code: 'GROUP_BUSY' as const, message: 'work with a vault that is to be removed is under way' };
  return {
    revision,
    spec,
    changes: [
      ...added.map((vault) => `archives: ${seatText(vault)} is added`),
      ...removed.map((vault) => `archives: ${seatText(vault)} is removed`),
    ],
    consequences: [
      ...added.map(
        ({ site, serial }) =>
          `Vault ${serial} gets a backup of the partition at site ${site} at least every ${everyMs / 1_000} s. Its newest ${keep} complete backups stay, or more if the configuration of the site says so.`,
      ),
      ...removed.map(
        ({ serial }) =>
          `Vault ${serial} keeps the backups that it has. No more are made, no drill uses them, and nobody is reminded of it.`,
      ),
    ],
    needsConfirmation: removed.length > 0,
    ...(obstacle === undefined || added.length + removed.length === 0 ? {} : { obstacle }),
  };
}
