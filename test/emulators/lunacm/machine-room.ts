/**
 * The room in which emulated devices are, as a program. The demonstration calls it, which imports nothing of the tests:
 *
 * - `make FOLDER`: devices by the plan on standard input. A password is never a word of a command.
 * - `reach FOLDER yes|no SERIAL...`: whether the client reaches these devices.
 * - `typed FOLDER`: prints each command that was typed into the tool, with the serial number of its slot.
 */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DeviceFile } from './devices.ts';
import { newDevices } from './initial-devices.ts';
import { SoftHsmToken } from './softhsm-token.ts';
import { tokensFolder } from './token-objects.ts';

interface Plan {
  /** A token whose token key all partitions get, as partitions of one cloning domain have one secret. */
  readonly domain: { readonly tokens: string; readonly pin: string };
  /** `folder` has an empty `tokens`, where programs look for the partition. */
  readonly partitions: readonly { serial: string; label: string; password: string; folder: string }[];
  readonly vault: { serial: string; label: string; password: string };
}

const VERBS: Readonly<Record<string, (folder: string, words: readonly string[]) => void>> = {
  make: (folder) => make(folder, JSON.parse(readFileSync(0, 'utf8')) as Plan),
  reach: (folder, [word, ...serials]) =>
    new DeviceFile(folder).change(({ partitions }) => {
      for (const serial of serials) Object.assign(found(partitions, serial), { isReachable: word === 'yes' });
    }),
  typed: (folder) => process.stdout.write(`${JSON.stringify(typed(folder))}\n`),
};

function make(folder: string, { domain, partitions, vault }: Plan): void {
  mkdirSync(tokensFolder(folder), { recursive: true });
  const first = new SoftHsmToken(domain.tokens);
  for (const { serial, label, password, folder: place } of partitions) {
    first.twin(join(place, 'tokens'), { serial, label, pin: password, ownPin: domain.pin });
    symlinkSync(place, join(tokensFolder(folder), serial));
  }
  new DeviceFile(folder).write(newDevices({ partitions, vault, isPed: false }));
  writeFileSync(join(folder, 'Chrystoki.conf'), 'Chrystoki2 = {\n}\n');
  // A device that is away is known to be so at once.
  writeFileSync(join(folder, 'emulator.json'), JSON.stringify({ receiveMs: 0 }));
  writeFileSync(join(folder, 'log.jsonl'), '');
}

function found<One extends { serial: string }>(partitions: readonly One[], serial: string): One {
  const one = partitions.find((partition) => partition.serial === serial);
  if (one === undefined) throw new Error(`no device has the serial number ${serial}`);
  return one;
}

function typed(folder: string): { command: string; serial: string }[] {
  const lines = readFileSync(join(folder, 'log.jsonl'), 'utf8').split('\n').filter(Boolean);
  return lines
    .map((line) => JSON.parse(line) as { command?: string; serial?: string })
    .flatMap(({ command, serial = '' }) => (command === undefined ? [] : [{ command, serial }]));
}

const [verb = '', folder = '', ...words] = process.argv.slice(2);
const work = VERBS[verb];
if (work === undefined || folder === '') throw new Error(`expected ${Object.keys(VERBS).join(', ')} and a folder`);
work(folder, words);
