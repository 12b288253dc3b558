/**
 * The generation that each member of a group has acknowledged, for the answer to a heartbeat. The commands of a site
 * show it with its objects. It must never claim more than is so (I13). Pure.
 */

import { type GroupAcknowledgementsSchema, isNewer, type MemberState } from '@antipode/protocol';
import { fromHex } from '@antipode/runtime';
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { Group } from '../model.ts';
import { seatIn } from '../sites/accounts.ts';
import type { Acknowledged } from '../store/tables/generations.ts';
import type { Views } from './contradiction.ts';
import { usableAcknowledgements } from './member-trouble.ts';

export function acknowledgementsOf(
  group: Group,
  acknowledged: readonly Acknowledged[],
  view: Views,
): MessageInitShape<typeof GroupAcknowledgementsSchema> {
  const { name } = group.spec;
  const usable = usableAcknowledgements(group, acknowledged, view);
  return {
    group: name,
    members: group.members.map(({ site }) => {
      const state = seatIn(view(site)?.state, name);
      const held = usable.find((one) => one.site === site);
      if (state === undefined) return { site };
      if (held === undefined) return { site, isKnown: true };
      // Its last report is older than what it has acknowledged since, and does not name the exceptions of that yet.
      if (isNewer(held, newestIn(state))) return { site };
      // The report lists the first of them only.
      if (state.refusedObjects > state.refused.length) return { site, isKnown: true };
      return {
        site,
        isKnown: true,
        epoch: held.epoch,
        number: held.number,
        manifestDigest: fromHex(held.manifestDigest),
        refusedObjectIds: state.refused.map(({ objectId }) => objectId),
      };
    }),
  };
}

function newestIn({ captured, applied }: MemberState): { epoch: bigint; number: bigint } | undefined {
  const [one, other] = [captured, applied].map((ref) => ref && { epoch: ref.epoch, number: ref.generation });
  return isNewer(one, other) ? one : other;
}
