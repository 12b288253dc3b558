/** Commands that make a partition ready, and the one that clones its masking key. */
import { hashOf, type PartitionRecord, type RoleRecord } from '../devices.ts';
import { Refused, type Run } from '../run.ts';
import { isLabel } from './hsm.ts';
import { slotOption } from './slot.ts';

type Options = ReadonlyMap<string, string>;

/** As many as a Backup HSM has. */
const PARTITIONS_MAX = 100;

export async function init(run: Run, options: Options): Promise<void> {
  const partition = run.current();
  if (partition.kind !== 'application') throw new Refused('noSuchSlot');
  const [label, password, domain] = ['label', 'password', 'domain'].map((name) => options.get(name) ?? '');
  if (!isLabel(label!) || password === '' || domain === '') throw new Refused('badArguments');
  if (!options.has('force') && !(await run.confirm('destroys all objects of the partition'))) return run.say('aborted');
  const outcome = await run.at(1);
  if (outcome instanceof Refused) throw outcome;
  if (outcome === 'skip') return;
  run.objects.clear(partition.serial);
  run.change(partition.serial, (one) => {
    one.label = label!;
    one.domain = hashOf(domain!);
    one.isZeroized = false;
    Object.assign(one.roles.po, { hash: hashOf(password!), isInitialised: true, failures: 0 });
    for (const name of ['co', 'cu'] as const) one.roles[name].isInitialised = false;
  });
  if (options.has('auth')) run.loggedIn.set(partition.serial, 'po');
}

/** A new partition has a slot from the next start on. */
export function create(run: Run, options: Options): void {
  const { partition: device } = slotOption(run, options);
  if (device.kind !== 'vault') throw new Refused('noSuchSlot');
  run.requireLogin(device, 'so');
  const size = options.get('size') ?? '100000';
  if (!/^\d+$/.test(size)) throw new Refused('badArguments');
  run.devices.change(({ partitions, slots }) => {
    if (partitions.length > PARTITIONS_MAX) throw new Refused('licence');
    const serial = `${device.serial}${partitions.length}`;
    const slot = Math.max(...slots.map(({ slot: number }) => number)) + 1;
    partitions.push(emptyPartition(device, serial, Number(size)));
    slots.push({ slot, serial });
  });
}

function emptyPartition(device: PartitionRecord, serial: string, totalBytes: number): PartitionRecord {
  const role = (limit: number): RoleRecord => ({
    ...{ hash: '', failures: 0, limit, shows: 'left', isInitialised: false },
    ...{ isExpired: false, isPed: false, isActivated: false },
  });
  return {
    ...device,
    ...{ serial, label: '', kind: 'application', domain: '', totalBytes, archives: [], isZeroized: true },
    description: 'User Token Slot',
    configuration: 'Luna User Partition With SO (PW) Key Export With Cloning Mode',
    policies: { 0: 1, 1: 0, 4: 1, 42: 0 },
    roles: { co: role(10), cu: role(10), po: role(10), so: role(3) },
  };
}

/** From the partition of the current slot. Blobs under the former key of the other one cannot be read there afterwards. */
export async function cloneMaskingKey(run: Run, options: Options): Promise<void> {
  const source = run.current();
  run.requireLogin(source, 'co');
  const { slot, partition: target } = slotOption(run, options);
  if (source.version !== 'V1' || target.version !== 'V1') throw new Refused('badArguments');
  if (hashOf(options.get('password') ?? '') !== target.roles.co.hash) throw new Refused('wrongPassword');
  if (source.domain !== target.domain) throw new Refused('domainMismatch');
  if (!options.has('force') && !(await run.confirm('overwrites the masking key'))) return run.say('aborted');
  run.change(target.serial, (one) => {
    one.maskingKey = source.maskingKey;
  });
  run.say('smkCloned', { slot });
}
