/** The commands of a partition. */
import type { PartitionRecord } from '../devices.ts';
import { archiveOf, type StoredObject } from '../objects.ts';
import { Refused, type Run } from '../run.ts';

export const sizeOf = (objects: readonly StoredObject[]): number => objects.reduce((sum, { bytes }) => sum + bytes, 0);

export function showInfo(run: Run): void {
  const partition = run.current();
  const { output } = run;
  const objects = run.objects.list(partition.serial);
  run.field('partitionLabel', partition.label);
  run.field('partitionManufacturer', 'Thales');
  run.field('partitionModel', partition.model);
  run.field('partitionSerial', partition.serial);
  run.field('partitionStatus', run.dialect.text(statusOf(partition)));
  run.field('tokenFlags', '');
  for (const flag of run.dialect.text('flagNames').split('\n'))
    output.line(`${run.dialect.settings.indent}    ${flag}`);
  run.field('slotId', run.slot ?? '');
  run.field('sessionState', 'CKS_RW_PUBLIC_SESSION');
  run.field('roleStatus', `${run.loggedIn.get(partition.serial) ?? 'none'} logged in`);
  output.line();
  run.say('maskingKeys');
  run.field('maskingKeyFw6', 'Not Initialized', ':');
  run.field('maskingKeyPrimary', partition.maskingKey, ':');
  output.line();
  run.say('storage');
  run.field('total', partition.totalBytes, ':');
  run.field('used', sizeOf(objects), ':');
  run.field('free', partition.totalBytes - sizeOf(objects), ':');
  run.field('objectCount', objects.length, ':');
  output.line();
  if (partition.fips !== 'not said') run.say(partition.fips === 'on' ? 'fipsOn' : 'fipsOff');
  if (partition.fm !== undefined) run.field('fmStatus', partition.fm);
  run.field('firmware', partition.firmware);
  if (partition.clockSeconds !== undefined) run.say('clock', { second: partition.clockSeconds });
}

const statusOf = ({ isInTransport, isZeroized }: PartitionRecord): string =>
  isInTransport ? 'statusTransport' : isZeroized ? 'statusZeroized' : 'statusHealthy';

export function hsmShowInfo(run: Run): void {
  const partition = run.current();
  if (partition.kind !== 'vault') throw new Refused('noSuchSlot');
  showInfo(run);
  run.output.line();
  run.say('environment');
  run.say('hsmStorage');
  run.field('allowedPartitions', 100, ':');
  run.field('partitionCount', partition.archives.length, ':');
}

const POLICIES: Readonly<Record<string, string>> = {
  0: 'private key cloning',
  1: 'private key wrapping',
  4: 'secret key cloning',
  22: 'activation',
  42: 'CPv1',
  55: 'Restricted Restore',
};

export function showPolicies(run: Run, kind: 'partition' | 'hsm'): void {
  const { policies } = run.current();
  run.say(`${kind}Capabilities`);
  for (const [number, text] of Object.entries(POLICIES))
    if (policies[number] !== undefined) run.say('capability', { number, text, value: 1 });
  run.output.line();
  run.say(`${kind}Policies`);
  for (const [number, value] of Object.entries(policies))
    run.say('policy', { number, text: POLICIES[number] ?? `policy ${number}`, value });
}

export async function contents(run: Run): Promise<void> {
  const partition = run.current();
  const role = run.loggedIn.get(partition.serial);
  if (role !== 'co' && role !== 'cu') throw new Refused('notLoggedIn');
  run.say('loggedIn');
  run.output.line();
  await printObjects(run, run.objects.list(partition.serial));
}

/** Faults at an object damage or cut its lines. */
export async function printObjects(run: Run, objects: readonly StoredObject[]): Promise<void> {
  run.say('objectList');
  run.output.line();
  for (const [index, { label, handle, type, uid }] of objects.entries()) {
    const outcome = await run.at(index + 1);
    if (outcome instanceof Refused) throw outcome;
    if (outcome === 'skip') continue;
    const indent = run.dialect.settings.indent.repeat(2);
    run.field('objectLabel', label, ':', indent);
    run.field('objectHandle', handle, ':', indent);
    run.field('objectType', type, ':', indent);
    if (run.dialect.text('usageLimit') !== '') run.field('usageLimit', 'none', ':', indent);
    run.field('objectUid', uid, ':', indent);
    run.output.line();
  }
  run.say('objectTotal', { count: objects.length });
}

export async function clear(run: Run, options: ReadonlyMap<string, string>): Promise<void> {
  const partition = run.current();
  run.requireLogin(partition, 'co');
  if (!options.has('force') && !(await run.confirm('destroys all objects of the partition'))) return run.say('aborted');
  const outcome = await run.at(1);
  if (outcome instanceof Refused) throw outcome;
  if (outcome === 'do') run.objects.clear(partition.serial);
}

export const containerOf = ({ serial }: PartitionRecord, name: string): string => archiveOf(serial, name);
