/** The commands of a device: its initialisation, its policies and its transport mode. */
import { createHash } from 'node:crypto';
import { hashOf, type PartitionRecord } from '../devices.ts';
import { archiveOf } from '../objects.ts';
import { Refused, type Run } from '../run.ts';

type Options = ReadonlyMap<string, string>;

/** The shortest password that firmware 7.7.2 of a Backup HSM takes. */
const PASSWORD_BYTES_MIN = 8;

function device(run: Run): PartitionRecord {
  const partition = run.current();
  if (partition.kind !== 'vault') throw new Refused('noSuchSlot');
  return partition;
}

/** Erases the device, whatever it has. In factory state that is nothing. */
export async function init(run: Run, options: Options): Promise<void> {
  const vault = device(run);
  if (vault.isInTransport) throw new Refused('transportMode');
  const [label, password, domain] = ['label', 'password', 'domain'].map((name) => options.get(name) ?? '');
  if (!options.has('initwithpwd') || !isLabel(label!) || domain === '') throw new Refused('badArguments');
  if (password!.length < PASSWORD_BYTES_MIN) throw new Refused('badArguments');
  if (!(await run.confirm('destroys all contents of the HSM'))) return run.say('aborted');
  const outcome = await run.at(1);
  if (outcome instanceof Refused) throw outcome;
  if (outcome === 'skip') return;
  for (const { name } of vault.archives) run.objects.clear(archiveOf(vault.serial, name));
  run.change(vault.serial, (one) => {
    one.archives.splice(0);
    one.isZeroized = false;
    one.label = label!;
    one.domain = hashOf(domain!);
    one.policies['55'] = 0;
    Object.assign(one.roles.so, { hash: hashOf(password!), failures: 0, isInitialised: true, isExpired: false });
  });
}

/** Labels have 1 to 32 characters, without these. */
export const isLabel = (label: string): boolean => /^[^?"]{1,32}$/.test(label);

export async function changePolicy(run: Run, options: Options): Promise<void> {
  const vault = device(run);
  run.requireLogin(vault, 'so');
  const [policy, value] = ['policy', 'value'].map((name) => options.get(name) ?? '');
  if (!/^\d+$/.test(policy!) || !/^\d+$/.test(value!) || vault.policies[policy!] === undefined)
    throw new Refused('badArguments');
  if (run.settings.policyAsks && !(await run.confirm('changes a policy of the HSM'))) return run.say('aborted');
  const outcome = await run.at(1);
  if (outcome instanceof Refused) throw outcome;
  if (outcome === 'skip') return;
  run.change(vault.serial, ({ policies }) => {
    policies[policy!] = Number(value);
  });
}

/** Shows what people compare with the string that came with the device, and asks them. */
export async function recover(run: Run, options: Options): Promise<void> {
  const vault = device(run);
  if (!vault.isInTransport) throw new Refused('notInTransport');
  const random = options.get('randomuserstring') ?? '';
  if (!STRING.test(random)) throw new Refused('badArguments');
  if (!vault.isZeroized) run.requireLogin(vault, 'so');
  run.say('transportWait');
  run.output.flush();
  await run.terminal.sleep(run.settings.transportMs);
  run.output.line();
  run.say('transportVerification', { verification: verificationOf(vault, random) });
  run.output.line();
  if (!(await run.confirm('ends the transport mode'))) return run.say('aborted');
  const outcome = await run.at(1);
  if (outcome instanceof Refused) throw outcome;
  if (outcome === 'skip') return;
  run.change(vault.serial, (one) => {
    one.isInTransport = false;
  });
}

export async function transport(run: Run, options: Options): Promise<void> {
  const vault = device(run);
  run.requireLogin(vault, 'so');
  if (!options.has('force') && !(await run.confirm('puts the HSM into transport mode'))) return run.say('aborted');
  const random = stringOf(vault.serial, 'random');
  run.change(vault.serial, (one) => {
    Object.assign(one, { isInTransport: true, transportRandom: random, transportFailures: 0 });
  });
  run.say('transportRandom', { random });
  run.say('transportVerification', { verification: verificationOf({ ...vault, transportFailures: 0 }, random) });
}

const STRING = /^[A-Za-z0-9]{4}(?:-[A-Za-z0-9]{4}){3}$/;

export function verificationOf({ serial, transportFailures = 0 }: PartitionRecord, random: string): string {
  return stringOf(serial, random, transportFailures);
}

function stringOf(...parts: (string | number)[]): string {
  const digits = createHash('sha256').update(JSON.stringify(parts)).digest('hex').toUpperCase();
  return [0, 4, 8, 12].map((at) => digits.slice(at, at + 4)).join('-');
}
