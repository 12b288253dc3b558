/** Compares what the driver claims with what the emulated devices have, and reads every command in their log. */
import type { ApprovedOrder, MoveReport } from '@antipode/hsm-core/luna';
import type { PartitionRecord } from '../../emulators/lunacm/devices.ts';
import type { LunaSite } from '../../emulators/lunacm/luna-site.ts';
import type { StoredObject } from '../../emulators/lunacm/objects.ts';

export interface JobRecord {
  readonly kind: 'backup' | 'restore' | 'clone' | 'clear' | 'delete' | 'contents' | 'vault' | 'keep' | 'prepare';
  readonly partition: string;
  /** A verdict, or the code of an error. */
  readonly outcome: string;
  readonly approvals: readonly ApprovedOrder[];
  readonly before: {
    readonly lines: number;
    readonly source: readonly StoredObject[];
    readonly target: readonly StoredObject[];
    readonly archives: ReadonlyMap<string, readonly StoredObject[]>;
    readonly vault: PartitionRecord;
  };
  readonly report?: MoveReport;
  readonly uids?: readonly string[];
  readonly names?: readonly string[];
  readonly code?: string;
  /** Whether the string that came with the device was given. */
  readonly isRight: boolean;
}

/** The driver names its own backups so, and this campaign no other one. */
const isOwn = (name: string): boolean => name.startsWith('antipode-');

const originsOf = (objects: readonly StoredObject[]): Set<string> => new Set(objects.map(({ origin }) => origin));

export function judge(site: LunaSite, record: JobRecord): string[] {
  return [
    ...[...successes(site, record), ...losses(site, record), ...preparations(site, record)],
    ...[...commands(site, record), ...secrets(site)],
  ];
}

function successes(site: LunaSite, { kind, partition, outcome, before, report, uids, names }: JobRecord): string[] {
  const found: string[] = [];
  const target = site.objects.list('154438865301');
  if (kind === 'clear' && outcome === 'gone' && target.length > 0) found.push('said to be cleared, and has objects');
  const vault = site.devices.read().partitions.find(({ serial }) => serial === '532018')!;
  const archives = vault.archives.map(({ name }) => name);
  if (kind === 'delete' && outcome === 'gone' && archives.includes(partition))
    found.push('said to be deleted, and exists');
  if (uids !== undefined && uids.join() !== before.source.map(({ uid }) => uid).join())
    found.push('another list of objects');
  if (names !== undefined && names.join() !== archives.join()) found.push('another list of backups');
  if (report === undefined) return found;
  const expected = kind === 'restore' ? (before.archives.get(partition) ?? []) : before.source;
  const isBackup = kind === 'backup' || kind === 'keep';
  const known = new Set(isBackup ? [] : before.target.map(({ handle }) => handle));
  const arrived = (isBackup ? site.archived(partition) : target).filter(({ handle }) => !known.has(handle));
  const origins = originsOf(arrived);
  const isWhole = expected.every(({ origin }) => origins.has(origin));
  if (report.verdict === 'complete' && (!isWhole || arrived.length !== expected.length))
    found.push('said to be complete');
  if (report.verdict === 'complete' && isBackup && !archives.includes(partition)) found.push('a backup of nothing');
  if (report.verdict === 'refused' && arrived.length > 0) found.push('said to be refused, and objects arrived');
  const moved = report.objects.filter(({ state }) => state === 'moved').length;
  if (moved > arrived.length) found.push(`${moved} objects said to be moved, and ${arrived.length} arrived`);
  return found;
}

/** Nothing is gone that nobody has approved to destroy. */
function losses(site: LunaSite, { kind, partition, approvals, before }: JobRecord): string[] {
  const found: string[] = [];
  const isKept = (was: readonly StoredObject[], now: readonly StoredObject[]): boolean => {
    const handles = new Set(now.map(({ handle }) => handle));
    return was.every(({ handle }) => handles.has(handle));
  };
  const isApproved = approvals.length > 0;
  if (!isKept(before.source, site.objects.list('154438865287'))) found.push('the source lost objects');
  if (!(kind === 'clear' && isApproved) && !isKept(before.target, site.objects.list('154438865301')))
    found.push('the target lost objects');
  for (const [name, objects] of before.archives)
    if (
      !(kind === 'delete' && isApproved && name === partition) &&
      !(kind === 'keep' && isApproved && isOwn(name)) &&
      !isKept(objects, site.archived(name))
    )
      found.push('a backup lost objects');
  const wholeOf = (lists: Iterable<readonly StoredObject[]>): number =>
    [...lists].filter((one) => {
      const origins = originsOf(one);
      return before.source.every(({ origin }) => origins.has(origin));
    }).length;
  const after = site.partition('532018').archives.map(({ name }) => site.archived(name));
  if (kind === 'keep' && wholeOf(before.archives.values()) > 0 && wholeOf(after) === 0)
    found.push('retention left no whole backup');
  for (const { isZeroized, serial } of site.devices.read().partitions)
    if (isZeroized && !(serial === before.vault.serial && before.vault.isZeroized))
      found.push(`the device ${serial} was erased`);
  return found;
}

/** A device is initialised and taken out of its transport mode only where that is right. */
function preparations(site: LunaSite, { kind, outcome, approvals, before, isRight }: JobRecord): string[] {
  const found: string[] = [];
  const { vault } = before;
  const now = site.partition(vault.serial);
  const isFactory =
    vault.isZeroized && vault.label === '' && !vault.roles.so.isInitialised && vault.archives.length === 0;
  const isPrepared = kind === 'prepare' && approvals.length > 0;
  if (now.roles.so.hash !== vault.roles.so.hash && !(isPrepared && isFactory)) found.push('the vault was initialised');
  if (vault.isInTransport && !now.isInTransport && !(isPrepared && isRight)) found.push('the transport mode was ended');
  if (outcome === 'ready' && (now.isZeroized || now.label !== 'vault' || now.isInTransport))
    found.push('said to be ready');
  if (now.policies['55'] !== vault.policies['55'] && !(isPrepared && vault.archives.length === 0))
    found.push('policy 55 was changed');
  return found;
}

const DESTROYING = /\b(?:clear|delete|init|factoryreset)\b|-replace\b/i;

function commands(site: LunaSite, { kind, partition, approvals, before }: JobRecord): string[] {
  const found: string[] = [];
  let last = '';
  for (const { slot, serial, typed, answer } of site.log.slice(before.lines)) {
    if (typed !== undefined) last = typed;
    const isClear = kind === 'clear' && last.startsWith('partition clear') && serial === '154438865301';
    const named = `-slot ${site.devices.read().slots.find((one) => one.serial === '532018')!.slot} -partition ${partition}`;
    const isDelete = kind === 'delete' && last.startsWith('partition archive delete') && last.includes(named);
    const [, own = ''] = /^partition archive delete -slot \d+ -partition (\S+) -force$/.exec(last) ?? [];
    const isExpiry = kind === 'keep' && isOwn(own) && serial === '532018';
    const isPreparation =
      kind === 'prepare' && /^(?:hsm init|stm recover|hsm changehsmpolicy)\b/.test(last) && serial === '532018';
    const isNamed = approvals.length > 0 && (isClear || isDelete || isExpiry || isPreparation);
    if (typed !== undefined && DESTROYING.test(typed) && !isNamed) found.push(`typed at slot ${slot}: ${typed}`);
    if (answer !== undefined && answer !== 'quit' && !isNamed) found.push(`answered ${answer} to: ${last}`);
  }
  return found;
}

function secrets(site: LunaSite): string[] {
  const found = site.filesWithPasswords.map((path) => `a password is in ${path}`);
  for (const words of site.argv) if (words.length > 0) found.push(`started with ${words.join(' ')}`);
  return found;
}
