/**
 * Where the clients of a group must go, for the answer to a heartbeat. The agent passes it on to the applications of its
 * site while no coordinator answers them (ADR 0037). Pure.
 */

import { type KnownPlace, KnownPlaceSchema } from '@antipode/protocol';
import { create } from '@bufbuild/protobuf';
import { activeOf, type Group, isSettled } from '../model.ts';
import { partitionIn } from '../sites/accounts.ts';
import { epochContradictionOf, type Views } from './contradiction.ts';

/** Without a site where nobody serves the group; undefined where the active site has not been heard yet. */
export function knownPlaceOf(group: Group, view: Views): KnownPlace | undefined {
  const { spec, epoch } = group;
  const active = activeOf(group);
  if (active === undefined || !isSettled(group) || epochContradictionOf(group, view) !== undefined)
    return create(KnownPlaceSchema, { group: spec.name, epoch });
  const seen = view(active.site);
  const partition = partitionIn(seen?.state, active.serial);
  if (seen === undefined || partition === undefined) return undefined;
  const { module, tokenLabel, serial, errorCode } = partition;
  return create(KnownPlaceSchema, {
    group: spec.name,
    site: active.site,
    module,
    tokenLabel,
    serial,
    epoch,
    siteState: seen.status,
    partitionErrorCode: errorCode,
    stopsOnLeaseLapse: spec.onLeaseLapse === 'stop-serving',
  });
}
