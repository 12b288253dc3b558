/** Jobs that add objects: backup, restore and clone. The result is read by runs of their own afterwards. */
import { AntipodeError, type Secret } from '@antipode/runtime';
import type { PartitionAddress } from '../approvals.ts';
import { archiveBackup, archiveList, archiveRestore, partitionClone } from '../commands.ts';
import type { Login } from '../login.ts';
import type { Reply } from '../lunacm-session.ts';
import { isDoubtful, type MoveReport, reportOf } from '../move-report.ts';
import { holdersOf, type Vault, vaultIn } from '../parse/archives.ts';
import type { ListedObject } from '../parse/contents.ts';
import { type PartitionInfo, primaryMaskingKey } from '../parse/partition-info.ts';
import { read, verify } from '../selection.ts';
import { inRun, type JobPorts } from './job-ports.ts';
import {
  type ArchiveSource,
  archiveObjects,
  orUnlisted,
  type PartitionContents,
  partitionObjects,
  vaultState,
} from './reading.ts';

export interface PartitionAccess {
  readonly address: PartitionAddress;
  readonly login: Login;
}

export interface BackupOrder {
  readonly source: PartitionAccess;
  readonly vault: PartitionAccess;
  /** A name that the vault does not have yet. */
  readonly partition: string;
  /** The password of the new backup. */
  readonly password: Secret;
}

/** @throws what stops it before anything is changed */
export async function backUp(order: BackupOrder, ports: JobPorts): Promise<MoveReport> {
  const { source, vault, partition, password } = order;
  const { phrases } = ports;
  const before = await partitionObjects(source.address, source.login, ports);
  const { result, isSound } = await inRun('backup', ports, async (run) => {
    const { slot } = await run.select(vault.address, 'device');
    const state = vaultIn(await read(run.session, archiveList(slot.number)), phrases);
    if (state.archives.some(({ name }) => name === partition))
      throw new AntipodeError('LUNA_REFUSED', 'the vault has a backup of that name already', {
        details: { serial: vault.address.serial },
        hint: 'Take another name. A backup is never replaced or added to.',
      });
    const lack = lackOfSpace(state, before.info, before.objects);
    if (lack !== undefined) return lack;
    await run.logIn(vault.login, vault.address);
    await run.select(source.address, 'partition');
    await run.logIn(source.login, source.address);
    await verify(run.session, source.address, { phrases, shown: 'partition' });
    return run.session.run(archiveBackup({ slot: slot.number, partition, password }));
  });
  if ('verdict' in result) return result;
  const after = await orUnlisted(vaultState(vault.address, ports));
  const made = after?.archives.find(({ name }) => name === partition);
  const arrived =
    after === undefined
      ? undefined
      : made === undefined || made.objectCount === 0
        ? []
        : await orUnlisted(archiveObjects({ vault: vault.address, partition, password }, ports));
  const isCountAgreed = made === undefined || arrived === undefined || made.objectCount === arrived.length;
  const report = reportOf(
    {
      ...{ reply: result, isSound, expected: before.objects, maskingKeys: 'not known' },
      // Where the backup exists, and lists itself in two ways, it is not known what it has.
      arrived: isCountAgreed ? arrived : undefined,
      gained: await gainedBy({ source, before: before.objects, arrived }, ports),
    },
    phrases,
  );
  // A backup that does not exist is not complete, even one of nothing.
  if (after !== undefined && made === undefined && report.verdict === 'complete')
    return { ...report, verdict: 'partial', why: 'short' };
  const isOrphan = made?.objectCount === 0 && report.verdict !== 'complete';
  return isOrphan ? { ...report, orphan: partition } : report;
}

function lackOfSpace(
  vault: Vault,
  { usedBytes }: PartitionInfo,
  expected: readonly ListedObject[],
): MoveReport | undefined {
  const { freeBytes } = vault;
  const needed = usedBytes ?? 0;
  if (freeBytes === undefined || (freeBytes > 0 && freeBytes >= needed)) return undefined;
  const [holder] = holdersOf(vault);
  return {
    ...{ verdict: 'refused', why: 'noSpace', code: '' },
    objects: expected.map((object) => ({ object, state: 'not attempted', refusal: undefined })),
    ...(holder === undefined ? {} : { holder: holder.name }),
  };
}

export interface RestoreOrder {
  readonly from: ArchiveSource;
  readonly target: PartitionAccess;
  /** The masking key of the partition that was backed up, where the backup recorded one. */
  readonly maskingKey?: string;
}

/** @throws what stops it before anything is changed */
export async function restore({ from, target, maskingKey }: RestoreOrder, ports: JobPorts): Promise<MoveReport> {
  const { phrases } = ports;
  const { vault, partition, password } = from;
  const expected = await archiveObjects(from, ports);
  const before = await partitionObjects(target.address, target.login, ports);
  const act = async (): Promise<{ result: Reply; isSound: boolean }> =>
    inRun('restore', ports, async (run) => {
      const { slot } = await run.select(vault, 'device');
      await run.select(target.address, 'partition');
      await run.logIn(target.login, target.address);
      await verify(run.session, target.address, { phrases, shown: 'partition' });
      return run.session.run(archiveRestore({ slot: slot.number, partition, password }));
    });
  return arrive({ expected, target, before, act, maskingKey }, ports);
}

/** The objects that a source has only since it was listed before a move; none where nothing asks for them. */
async function gainedBy(
  {
    source,
    before,
    arrived,
  }: { source: PartitionAccess; before: readonly ListedObject[]; arrived: readonly ListedObject[] | undefined },
  ports: JobPorts,
): Promise<readonly ListedObject[] | undefined> {
  if (arrived === undefined || !isDoubtful(before, arrived)) return [];
  const after = await orUnlisted(partitionObjects(source.address, source.login, ports));
  const known = new Set(before.map(({ uid }) => uid));
  return after?.objects.filter(({ uid }) => !known.has(uid));
}

export interface CloneOrder {
  readonly source: PartitionAccess;
  readonly target: PartitionAccess & { readonly password: Secret };
  /** The objects of the source to clone, by what both sides list. All of them where it is absent. */
  readonly choose?: (source: readonly ListedObject[], target: readonly ListedObject[]) => readonly ListedObject[];
}

/** @throws what stops it before anything is changed */
export async function clonePartition({ source, target, choose }: CloneOrder, ports: JobPorts): Promise<MoveReport> {
  const { phrases } = ports;
  const { objects, info } = await partitionObjects(source.address, source.login, ports);
  const before = await partitionObjects(target.address, target.login, ports);
  const expected = choose === undefined ? objects : choose(objects, before.objects);
  if (choose !== undefined && expected.length === 0)
    return { verdict: 'complete', why: undefined, code: '', objects: [], brought: [] };
  const handles = choose === undefined ? {} : { handles: expected.map(({ handle }) => handle) };
  const act = async (): Promise<{ result: Reply; isSound: boolean }> =>
    inRun('clone', ports, async (run) => {
      const { slot } = await run.select(target.address, 'partition');
      await run.select(source.address, 'partition');
      await run.logIn(source.login, source.address);
      await verify(run.session, source.address, { phrases, shown: 'partition' });
      return run.session.run(partitionClone({ slot: slot.number, password: target.password, ...handles }));
    });
  return arrive(
    { expected, target, before, act, source: { ...source, objects }, maskingKey: primaryMaskingKey(info) },
    ports,
  );
}

interface Arrival {
  readonly expected: readonly ListedObject[];
  readonly target: PartitionAccess;
  /** Its objects before the move. */
  readonly before: PartitionContents;
  readonly act: () => Promise<{ result: Reply; isSound: boolean }>;
  /** With its objects before the move. Absent for a backup, which nobody adds to. */
  readonly source?: PartitionAccess & { readonly objects: readonly ListedObject[] };
  readonly maskingKey: string | undefined;
}

/** Lists the target before and after. Only what is new there can have been moved: labels are not unique. */
async function arrive(arrival: Arrival, ports: JobPorts): Promise<MoveReport> {
  const { expected, target, before, act, source, maskingKey } = arrival;
  const { result: reply, isSound } = await act();
  const after = await orUnlisted(partitionObjects(target.address, target.login, ports));
  const known = new Set(before.objects.map(({ handle }) => handle));
  const arrived = after?.objects.filter(({ handle }) => !known.has(handle));
  const found = after === undefined ? undefined : primaryMaskingKey(after.info);
  const maskingKeys =
    maskingKey === undefined || found === undefined ? 'not known' : maskingKey === found ? 'agree' : 'differ';
  const gained = source === undefined ? [] : await gainedBy({ source, before: source.objects, arrived }, ports);
  return reportOf({ expected, arrived, gained, reply, isSound, maskingKeys }, ports.phrases);
}
