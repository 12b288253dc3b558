/**
 * Seats this member again, after an operator has looked at what database and journals say of the group. One transaction
 * records the new tenure, the role, the newest generation that the partition is known to have held, and the end of the
 * quarantine.
 */
import { digestOf, fenceOf, isNewer, type ReseatRequest, roleOf } from '@antipode/protocol';
import { AntipodeError, inSpan } from '@antipode/runtime';
import { headOf, newestHere, type Site } from '../site.ts';
import type { HeadKind } from '../storage/journal/heads.ts';
import type { Role } from '../storage/journal/tenure.ts';

/** @throws EPOCH_STALE, EPOCH_CONFLICT, NOT_FOUND, ROLE_REFUSED, APPROVAL_REQUIRED, and what pulling a generation throws */
export async function reseat(site: Site, request: ReseatRequest, signal?: AbortSignal): Promise<void> {
  const { group, epoch, owner, requestId } = fenceOf(request);
  const { serial } = request;
  const { fences, journal, leases, partitions, transfer } = site;
  const partition = partitions.bySerial(serial);
  const role = roleOf(request.role);
  const mayAct = (): Role => {
    fences.examine({ group, epoch, owner });
    if (partition.settings.role !== 'member') throw refusal(group, 'only a member partition takes a seat');
    if (role === 'active' && !mayBeActive(site, { group, epoch, owner }))
      throw refusal(group, 'this site was not the active member; only a promotion makes it active');
    return role;
  };
  mayAct();
  site.approvals.use(
    {
      action: 'reseat',
      group,
      epoch,
      partition: { site: site.name, serial },
      scope: `reseat ${serial} ${epoch} ${role}`,
      what: `the reseat of site ${site.name} in group ${group} as ${role}`,
    },
    request.fence?.approvals,
  );
  // Before anything is pulled: a journal that is an older copy does not know the tenure that the generation is of.
  fences.admit({ group, epoch, owner });
  const wanted = request.generation === undefined ? undefined : digestOf(request.generation);
  const pulled =
    wanted === undefined ? undefined : await transfer.pull({ group, digest: wanted, sources: request.sources, signal });
  const inTurn = () =>
    partition.use(
      (open) =>
        inSpan('reseat', { 'antipode.group': group, 'antipode.epoch': epoch.toString() }, async () => {
          const head = await newerHead(site, { group, serial, wanted, role: mayAct() });
          journal.tenure.reseat({ group, fence: { epoch, owner }, serial, role: mayAct(), head });
          leases.revoke(group);
          // These remember the partition under the former heads, which says nothing about it under the new ones.
          open.captures.forget();
          open.replica.forget();
          site.log.warn('reseated by an operator', {
            group,
            epoch,
            role,
            request: requestId,
            ...(head === undefined ? {} : { [head.kind]: head.digest }),
          });
        }),
      signal,
    );
  await (pulled === undefined ? inTurn() : site.store.inUse.during(pulled.sealed, inTurn));
}

/**
 * A member may become active in three cases: it was active by its own journal, its journal cannot be believed, or this
 * very epoch of its own ended its tenure. Any other member would serve with keys that nobody has proved here (I4).
 */
function mayBeActive(
  { journal, name }: Site,
  { group, epoch, owner }: { group: string; epoch: bigint; owner: string },
): boolean {
  if (owner !== name) return false;
  const role = journal.tenure.seat(group)?.role;
  if (role === 'active' || journal.tenure.quarantine(group) !== undefined) return true;
  const fence = journal.tenure.fence(group);
  return role === 'fenced' && fence?.owner === name && fence.epoch === epoch;
}

/**
 * A head that describes the partition better than the heads here: `captured` for an active member, `staged` for a
 * standby.
 */
async function newerHead(
  site: Site,
  { group, serial, wanted, role }: { group: string; serial: string; wanted: string | undefined; role: Role },
): Promise<{ kind: HeadKind; digest: string } | undefined> {
  if (wanted === undefined) return undefined;
  const generation = await site.store.summary(wanted);
  // A standby reads its partition under the domain key of what it holds. Without that key it begins as one that is new.
  const keys = site.journal.domainKeys.of(serial).filter((key) => key.group === group);
  if (role !== 'active' && !keys.some(({ version }) => version === generation.domainKeyVersion)) return undefined;
  const heads = [await newestHere(site, { group, serial }), await headOf(site, { group, serial }, 'staged')];
  if (heads.some((head) => head !== undefined && !isNewer(generation, head))) return undefined;
  return { kind: role === 'active' ? 'captured' : 'staged', digest: wanted };
}

const refusal = (group: string, why: string): AntipodeError =>
  new AntipodeError('ROLE_REFUSED', why, { details: { group } });
