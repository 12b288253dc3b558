/** `partition archive ...` and `partition clone`: one object after the other, each whole or not at all. */
import { type ArchiveRecord, hashOf, type PartitionRecord } from '../devices.ts';
import type { Container, StoredObject } from '../objects.ts';
import { Refused, type Run } from '../run.ts';
import { containerOf, printObjects, sizeOf } from './partition.ts';
import { slotOption } from './slot.ts';

type Options = ReadonlyMap<string, string>;

/** The space that a backup takes beside its objects. */
const OVERHEAD_BYTES = 256;

function vaultOption(run: Run, options: Options): { slot: number; vault: PartitionRecord } {
  const { slot, partition } = slotOption(run, options);
  if (partition.kind !== 'vault') throw new Refused('noSuchSlot');
  return { slot, vault: partition };
}

function archiveOption(vault: PartitionRecord, options: Options): ArchiveRecord {
  const found = vault.archives.find(({ name }) => name === options.get('partition'));
  if (found === undefined) throw new Refused('noSuchArchive');
  return found;
}

function checkArchivePassword(archive: ArchiveRecord, options: Options): void {
  if (hashOf(options.get('password') ?? '') !== archive.hash) throw new Refused('wrongPassword');
}

const heldBy = ({ archives }: PartitionRecord): number => archives.reduce((sum, { totalBytes }) => sum + totalBytes, 0);

export function list(run: Run, options: Options): void {
  const { slot, vault } = vaultOption(run, options);
  run.say('vaultHeading', { slot });
  run.output.line();
  run.field('vaultTotal', vault.totalBytes, ':');
  run.field('vaultUsed', heldBy(vault), ':');
  run.field('vaultFree', vault.totalBytes - heldBy(vault), ':');
  run.field('vaultAllowed', 100, ':');
  run.field('vaultPartitions', vault.archives.length, ':');
  run.output.line();
  run.say('archiveHeading', { slot });
  run.output.line();
  for (const { name, totalBytes } of vault.archives) {
    const objects = run.objects.list(containerOf(vault, name));
    run.field('archiveName', name, ':');
    run.field('archiveTotal', totalBytes, ':');
    run.field('archiveUsed', sizeOf(objects), ':');
    run.field('archiveFree', totalBytes - sizeOf(objects), ':');
    run.field('archiveObjects', objects.length, ':');
    run.output.line();
  }
}

export async function contents(run: Run, options: Options): Promise<void> {
  const { vault } = vaultOption(run, options);
  const archive = archiveOption(vault, options);
  checkArchivePassword(archive, options);
  await printObjects(run, run.objects.list(containerOf(vault, archive.name)));
}

export async function remove(run: Run, options: Options): Promise<void> {
  const { vault } = vaultOption(run, options);
  run.requireLogin(vault, 'so');
  const { name } = archiveOption(vault, options);
  if (!options.has('force') && !(await run.confirm('destroys the backup'))) return run.say('aborted');
  const outcome = await run.at(1);
  if (outcome instanceof Refused) throw outcome;
  if (outcome === 'skip') return;
  run.objects.clear(containerOf(vault, name));
  run.change(vault.serial, ({ archives }) => {
    archives.splice(
      archives.findIndex((one) => one.name === name),
      1,
    );
  });
}

export async function backup(run: Run, options: Options): Promise<void> {
  const source = run.current();
  run.requireLogin(source, 'co');
  const { slot, vault } = vaultOption(run, options);
  run.requireLogin(vault, 'so');
  const name = options.get('partition') ?? '';
  const objects = run.objects.list(source.serial);
  if (vault.archives.some((one) => one.name === name)) throw new Refused('duplicateName');
  if (!options.has('force') && !(await run.confirm('makes a new backup'))) return run.say('aborted');
  const freeBytes = vault.totalBytes - heldBy(vault);
  if (freeBytes < Math.max(sizeOf(objects), OVERHEAD_BYTES)) {
    run.say('noSpace');
    throw new Refused('noSpace');
  }
  run.say('verifying');
  run.say('willBackUp', { count: objects.length });
  run.output.line();
  // A new backup takes all free space, and gives back at its end what it does not need.
  run.change(vault.serial, ({ archives, domain }) => {
    archives.push({ name, domain, hash: hashOf(options.get('password') ?? ''), totalBytes: freeBytes });
  });
  const to = containerOf(vault, name);
  try {
    const moved = await moveAll(run, objects, {
      from: source,
      to: { container: to, partition: vault },
      name,
      text: 'clonedTo',
    });
    run.output.line();
    run.say('backupComplete');
    run.output.line();
    run.say('backupSummary', { count: moved, name, slot });
  } finally {
    const used = sizeOf(run.objects.list(to)) + OVERHEAD_BYTES;
    run.change(vault.serial, ({ archives }) => {
      const archive = archives.find((one) => one.name === name);
      if (archive !== undefined) archive.totalBytes = used;
    });
  }
}

export async function restore(run: Run, options: Options): Promise<void> {
  const target = run.current();
  run.requireLogin(target, 'co');
  const { slot, vault } = vaultOption(run, options);
  const archive = archiveOption(vault, options);
  checkArchivePassword(archive, options);
  if (!options.has('force') && !(await run.confirm('adds objects to the partition'))) return run.say('aborted');
  if (vault.policies['55'] === 1 && target.version === 'old') throw new Refused('restricted');
  const objects = run.objects.list(containerOf(vault, archive.name));
  run.say('willRestore', { count: objects.length });
  run.output.line();
  const to = { container: target.serial, partition: target };
  const moved = await moveAll(run, objects, { from: vault, to, name: archive.name, text: 'clonedFrom' });
  run.output.line();
  run.say('restoreComplete');
  run.output.line();
  run.say('restoreSummary', { count: moved, name: archive.name, slot });
}

export async function clone(run: Run, options: Options): Promise<void> {
  const source = run.current();
  run.requireLogin(source, 'co');
  const { slot, partition: target } = slotOption(run, options);
  const listed = run.objects.list(source.serial);
  const objects = chosen(listed, options.get('objects') ?? '');
  if (target.kind !== 'application' || objects === undefined) throw new Refused('badArguments');
  if (hashOf(options.get('password') ?? '') !== target.roles.co.hash) {
    run.change(target.serial, ({ roles }) => {
      roles.co.failures += 1;
    });
    throw new Refused('wrongPassword');
  }
  if (!options.has('force') && !(await run.confirm('adds objects to the partition'))) return run.say('aborted');
  run.say('willClone', { count: objects.length });
  const to = { container: target.serial, partition: target };
  const moved = await moveAll(run, objects, { from: source, to, name: target.label, text: 'clonedTo' });
  run.say('cloneSummary', { count: moved, slot });
}

/** `all`, or handles with commas between them. Undefined if the source has no object of one of these handles. */
function chosen(objects: readonly StoredObject[], words: string): readonly StoredObject[] | undefined {
  if (words === 'all') return objects;
  const found = words.split(',').map((word) => objects.find(({ handle }) => String(handle) === word));
  return found.every((object) => object !== undefined) ? found : undefined;
}

interface Way {
  readonly from: PartitionRecord;
  readonly to: { readonly container: Container; readonly partition: PartitionRecord };
  readonly name: string;
  readonly text: 'clonedTo' | 'clonedFrom';
}

/** An old partition reports each object that fails and goes on; newer ones stop at the first. */
async function moveAll(run: Run, objects: readonly StoredObject[], { from, to, name, text }: Way): Promise<number> {
  const other = from.kind === 'vault' ? to.partition : from;
  const isOld = other.version === 'old';
  let moved = 0;
  let failed: Refused | undefined;
  for (const [index, object] of objects.entries()) {
    const outcome = await run.at(index + 1);
    if (outcome === 'skip') continue;
    const refusal = outcome instanceof Refused ? outcome : refusalOf(run, object, from, to);
    if (refusal !== undefined) {
      run.say('objectError', { handle: object.handle, symbol: run.symbolOf(refusal) });
      if (!isOld) throw refusal;
      failed ??= refusal;
      continue;
    }
    const copy = run.objects.copy(object, to.container, { keepsUid: to.partition.keepsUid });
    run.say(text, { handle: object.handle, name, newHandle: copy.handle });
    moved += 1;
  }
  if (failed !== undefined && run.settings.partialTrailer === 'failure') throw failed;
  return moved;
}

function refusalOf(run: Run, object: StoredObject, from: PartitionRecord, to: Way['to']): Refused | undefined {
  if (from.domain !== to.partition.domain) return new Refused('domainMismatch');
  const isThere = run.objects.list(to.container).some(({ origin }) => origin === object.origin);
  return isThere ? new Refused('duplicate') : undefined;
}
