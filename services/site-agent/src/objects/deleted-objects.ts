/**
 * Decisions of a person at the site about objects that were deleted, damaged or replaced, whether the agent runs or
 * not. The person sees the objects by their names, which never leave the site. The person then accepts their loss, or
 * brings them back into the active member's token.
 */
import {
  applyGeneration,
  dataKeyIdsOf,
  destroyNamesakes,
  findImpostors,
  type Generation,
  type HsmProvider,
  type Keyring,
  lookForNamesakes,
  openKeyring,
  type Replica,
  ReplicaMemory,
  type SealedGeneration,
} from '@antipode/hsm-core';
import type { SignedApproval } from '@antipode/protocol';
import { AntipodeError, type Log } from '@antipode/runtime';
import { ApprovalRules } from '../approvals/approval-rules.ts';
import { Approvals } from '../approvals/approvals.ts';
import { openForCommand } from '../commands/beside-agent.ts';
import type { AgentConfig } from '../config.ts';
import { guardRestore } from '../divergence/restore-guard.ts';
import type { GenerationStore } from '../storage/generation-store.ts';
import { sameTenure } from '../tenure/fence.ts';
import { chooseObjects } from './choose.ts';
import {
  changedOf,
  type DeletedObject,
  type DeletedState,
  deletedIn,
  type GroupHere,
  useGroup,
} from './sealed-objects.ts';
import { siteObject } from './site-object.ts';

/** The states that a person has to decide about. */
const UNDECIDED: ReadonlySet<DeletedState> = new Set(['held', 'replaced', 'changed', 'revived']);

const LIST = 'antipode deleted list <group>';

/** @throws NOT_FOUND, GENERATION_UNKNOWN */
export function listDeleted({ config, group }: { config: AgentConfig; group: string }): Promise<DeletedObject[]> {
  return useGroup(config, group, async (open) => deletedIn(open, group));
}

/**
 * Accepts that these objects are gone or have another value: the next capture goes on without them. Without any named, all
 * that is held or changed now. An object that the token does not show has to be named. @throws NOT_FOUND, ROLE_REFUSED
 */
export function acceptDeleted({
  config,
  group,
  objectIds,
}: {
  config: AgentConfig;
  group: string;
  objectIds: readonly string[];
}): Promise<DeletedObject[]> {
  return useGroup(config, group, async (open) => {
    // An acceptance at a standby would wait until that member is active one day, and then let a real loss pass.
    requireActive(open, group, 'losses are accepted only at the active member');
    const undecided = deletedIn(open, group).filter(
      ({ state }) => UNDECIDED.has(state) || (state === 'unreadable' && objectIds.length > 0),
    );
    const chosen = chooseObjects(undecided, objectIds, { list: LIST });
    open.journal.decisions.accept(
      open.seat,
      chosen.map(({ objectId }) => objectId),
    );
    return chosen;
  });
}

/**
 * Brings objects back into the token of the active member and proves them by use. If an object's value has changed, the
 * object that has its names now is destroyed once the sound one is there.
 * @throws NOT_FOUND, ROLE_REFUSED, ALREADY_EXISTS, APPROVAL_REQUIRED and its like, and the codes of an apply
 */
export function restoreDeleted({
  config,
  group,
  objectIds,
  approval,
  log,
}: {
  config: AgentConfig;
  group: string;
  objectIds: readonly string[];
  /** Needed where this site guards its actions. */
  approval?: SignedApproval | undefined;
  log: Log;
}): Promise<DeletedObject[]> {
  return useGroup(config, group, async (open) => {
    const { journal, seat, newest } = open;
    requireActive(open, group, 'objects are put back only at the active member');
    const chosen = chooseObjects(deletedIn(open, group), objectIds, { list: LIST });
    const lost = chosen.find(({ isRestorable }) => !isRestorable);
    if (lost !== undefined)
      throw new AntipodeError('GENERATION_UNKNOWN', `this site does not have object ${lost.objectId} sealed`, {
        details: { objectId: lost.objectId },
        hint: 'Leave it out of the command. `antipode deleted list <group>` shows which objects are restorable.',
      });
    requireFreeNames(chosen, newest.generation);
    useApproval(open, { config, group, objects: chosen.map(({ objectId }) => objectId), approval, log });
    const wanted = new Set(chosen.map(({ objectId }) => objectId));
    const settings = config.partitions.find(({ name }) => journal.identities.of(name)?.serial === seat.serial);
    const identity = settings && journal.identities.of(settings.name);
    if (settings === undefined || identity === undefined)
      throw new AntipodeError('NOT_FOUND', `no partition of this site has serial ${seat.serial}`, {
        details: { group, serial: seat.serial },
      });
    const provider = await openForCommand(settings, { ...config, serial: seat.serial, log });
    try {
      const keyring = await openKeyring({
        provider,
        identity,
        domainKeys: journal.domainKeys.of(seat.serial),
        announced: journal.identities.announced(seat.serial),
        otherIds: journal.identities.otherIds(seat.serial),
      });
      const targets = [newest, ...open.asides].flatMap((one) => targetsOf(one, { wanted, keyring, group }));
      const changed = changedOf(newest.generation);
      const replicas = targets.map((target) => replicaOf({ provider, keyring, open, target }));
      // All of them before any is brought back.
      for (const replica of replicas) await requireNoNamesakes(replica, changed);
      for (const replica of replicas) await restore(replica, { store: open.store, changed });
    } finally {
      await provider.close();
    }
    journal.decisions.setRestored(seat, [...wanted]);
    return chosen;
  });
}

/**
 * A restore into production, or the preparation of a vault, needs an approval where this site guards the group. The use
 * is on record before anything is changed, and the same act may be repeated with it.
 */
export function useApproval(
  { journal, seat, clock }: Pick<GroupHere, 'journal' | 'seat' | 'clock'>,
  {
    config: { site, approvals: settings },
    group,
    objects,
    approval,
    log,
    action = 'restore',
  }: {
    config: Pick<AgentConfig, 'site' | 'approvals'>;
    group: string;
    objects: readonly string[];
    action?: 'restore' | 'prepare-vault';
    approval: SignedApproval | undefined;
    log: Log;
  },
): void {
  const approvals = new Approvals({ rules: new ApprovalRules(settings), records: journal.approvals, clock, log });
  const restored = [...objects].sort().join(' ');
  guardRestore(
    { approvals, name: site },
    {
      fence: {
        group,
        epoch: journal.tenure.fence(group)?.epoch ?? 0n,
        approvals:
          approval === undefined
            ? undefined
            : {
                operationId: `${action} ${restored}`,
                approvals: [{ ...approval, signatures: [...approval.signatures] }],
              },
      },
      serial: seat.serial,
      objects,
      action,
    },
  );
}

/** @throws ROLE_REFUSED */
function requireActive({ seat: { role } }: GroupHere, group: string, why: string): void {
  if (role === 'active') return;
  throw new AntipodeError('ROLE_REFUSED', `this site is ${role} in group ${group}: ${why}`, {
    details: { group, role },
    hint: `Run the command at the active site. \`antipode resolve ${group}\` names it.`,
  });
}

/** A program that looks for a name must not find now the one, now the other. @throws ALREADY_EXISTS */
function requireFreeNames(chosen: readonly DeletedObject[], { entries }: Generation): void {
  const bearers = new Map(entries.flatMap((entry) => namesOf(siteObject(entry)).map((name) => [name, entry.objectId])));
  for (const one of chosen) {
    if (one.state !== 'deleted' && one.state !== 'set-aside') continue;
    const bearer = namesOf(one).flatMap((name) => bearers.get(name) ?? [])[0];
    // Two objects that are to come back may have the same name too.
    for (const name of namesOf(one)) bearers.set(name, one.objectId);
    if (bearer === undefined) continue;
    throw new AntipodeError('ALREADY_EXISTS', `object ${bearer} has the label or CKA_ID of object ${one.objectId}`, {
      details: { objectId: one.objectId, bearer },
      hint: `Rename or destroy object ${bearer} first, run \`antipode replicate <group>\`, and restore again. If both are to be restored, restore only one of them.`,
    });
  }
}

const namesOf = ({ objectClass, label, ckaId }: Pick<DeletedObject, 'objectClass' | 'label' | 'ckaId'>): string[] => [
  ...(label === '' ? [] : [`${objectClass} label ${label}`]),
  ...(ckaId === '' ? [] : [`${objectClass} id ${ckaId}`]),
];

/** One generation for each domain key version that opens what is wanted: as it was sealed, and nothing else in it. */
function targetsOf(
  newest: SealedGeneration,
  { wanted, keyring, group }: { wanted: ReadonlySet<string>; keyring: Keyring; group: string },
): SealedGeneration[] {
  const { generation } = newest;
  const live = generation.entries
    .filter(({ objectId }) => wanted.has(objectId))
    .map((entry) => ({
      entry,
      version: generation.domainKeyVersion,
      dataKeys: generation.dataKeys.filter(({ id }) => dataKeyIdsOf([entry]).has(id)),
    }));
  const deleted = generation.tombstones
    .filter(({ entry }) => wanted.has(entry.objectId))
    .map(({ entry, domainKeyVersion = 0, dataKey, cloneDataKey }) => ({
      entry,
      version: domainKeyVersion,
      dataKeys: [dataKey ?? [], cloneDataKey ?? []].flat(),
    }));
  return [...Map.groupBy([...live, ...deleted], ({ version }) => version)].map(([version, parts]) => ({
    ...newest,
    generation: {
      ...generation,
      domainKeyVersion: version,
      domainKeyCheckTag: keyring.domainKey(group, version).checkTag,
      entries: parts.map(({ entry }) => entry),
      dataKeys: [...new Map(parts.flatMap(({ dataKeys }) => dataKeys).map((one) => [one.id, one])).values()],
      uncaptured: [],
      tombstones: [],
    },
  }));
}

function replicaOf({
  provider,
  keyring,
  open,
  target,
}: {
  provider: HsmProvider;
  keyring: Keyring;
  open: GroupHere;
  target: SealedGeneration;
}): Replica {
  return {
    provider,
    keyring,
    clock: open.clock,
    memory: new ReplicaMemory(),
    target,
    // With every captured object known, another key of the same names is not taken for a damaged one.
    previous: [open.newest],
    journal: {
      openIntents: () => open.journal.intents.open(open.seat),
      begin: (intents) => open.journal.intents.begin(open.seat, intents),
      commit: (_digest, objectIds) => open.journal.intents.end(open.seat, objectIds),
    },
    checkFence: sameTenure(open.journal.tenure, open.seat.group),
  };
}

/**
 * The token may hold what the newest generation does not have: a key that was made since, or one that is not captured.
 * @throws ALREADY_EXISTS
 */
async function requireNoNamesakes(replica: Replica, changed: ReadonlySet<string>): Promise<void> {
  const { generation } = replica.target;
  // An object with another value gives way to the sound one.
  const entries = generation.entries.filter(({ objectId }) => !changed.has(objectId));
  const [bearer] = await lookForNamesakes({
    ...replica,
    target: { ...replica.target, generation: { ...generation, entries } },
  });
  const damaged = generation.entries.filter(({ objectId }) => changed.has(objectId));
  const impostors = damaged.length === 0 ? [] : await findImpostors(replica, damaged);
  if (impostors.length > damaged.length)
    throw new AntipodeError(
      'ALREADY_EXISTS',
      `${impostors.length} objects in the token have the names of objects to restore and another value, expected at most ${damaged.length}`,
      {
        details: { found: impostors.length, expected: damaged.length },
        hint: 'Rename or destroy those that are not damaged, and restore again. Antipode cannot tell which of them are damaged.',
      },
    );
  if (bearer === undefined) return;
  throw new AntipodeError(
    'ALREADY_EXISTS',
    `a ${bearer.objectClass} in the token has the label or CKA_ID of an object to restore`,
    {
      details: { objectClass: bearer.objectClass, handle: bearer.handle },
      hint: 'Rename or destroy the one in the token, and restore again.',
    },
  );
}

async function restore(
  replica: Replica,
  { store, changed }: { store: GenerationStore; changed: ReadonlySet<string> },
): Promise<void> {
  await applyGeneration({ ...replica, proved: undefined, blobOf: (sha256) => store.blob(sha256) });
  const damaged = replica.target.generation.entries.filter(({ objectId }) => changed.has(objectId));
  await destroyNamesakes(replica, damaged);
}
