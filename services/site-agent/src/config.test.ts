import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OBJECT_CLASSES } from '@antipode/hsm-core';
import { FILTER_CLASSES } from '@antipode/protocol';
import { thrown } from '@antipode/runtime/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { loadAgentConfig, partitionConfig } from './config.ts';
import { temporaryFolder } from './testing/temporary-folder.ts';

const GOOD = `site: a
listen: 0.0.0.0:7400
coordinator:
  id: main
  address: coordinator.example:7300
tls:
  ca: ca.pem
  certificate: certs/a.pem
  key: certs/a.key
dataFolder: data
partitions:
  - name: main
    module: /usr/lib/softhsm/libsofthsm2.so
    tokenLabel: payments
    pinFile: main.pin
  - name: scratch
    module: modules/hsm.so
    tokenLabel: scratch
    pinFile: scratch.pin
    role: scratch
`;

const LUNA =
  "    native: { kind: luna, domain: payments, sources: [{ serial: '154438865287', label: par0, pinFile: par0.pin }] }";

let folder: string;
let file: string;

beforeEach(() => {
  folder = temporaryFolder();
  file = join(folder, 'agent.yaml');
});

afterEach(() => rmSync(folder, { recursive: true }));

function load(text: string) {
  writeFileSync(file, text);
  return loadAgentConfig(file);
}

it('takes paths relative to its own folder, and absolute ones as they are', () => {
  expect(load(GOOD)).toMatchObject({
    tls: { ca: join(folder, 'ca.pem'), certificate: join(folder, 'certs/a.pem'), key: join(folder, 'certs/a.key') },
    dataFolder: join(folder, 'data'),
    pinsFile: join(folder, 'pins.yaml'),
    partitions: [
      { module: '/usr/lib/softhsm/libsofthsm2.so', pinFile: join(folder, 'main.pin'), role: 'member', environment: {} },
      { module: join(folder, 'modules/hsm.so'), role: 'scratch' },
    ],
  });
});

it('hands the worker what the module needs, under the number that the journal knows', () => {
  const nss = `    moduleParameters: configdir='sql:/var/lib/nss'
    serial: nss-a
    acceptUnenforced: [extractable]
    functionPrefix: FC
    kdf: sha256
    pointEncoding: der
    keyWrapMechanism: 0x80000002
    role: scratch`;
  const config = load(GOOD.replace('    role: scratch', nss));
  const [main, scratch] = config.partitions.map((one) => partitionConfig(one, config));
  expect(scratch).toMatchObject({
    moduleParameters: "configdir='sql:/var/lib/nss'",
    serial: 'nss-a',
    acceptUnenforced: ['extractable'],
    functionPrefix: 'FC',
    kdf: 'sha256',
    pointEncoding: 'der',
    keyWrapMechanism: 0x8000_0002,
    stateFolder: join(folder, 'data', 'login'),
  });
  const absent = ['moduleParameters', 'serial', 'acceptUnenforced', 'functionPrefix', 'kdf', 'pointEncoding'];
  for (const name of [...absent, 'keyWrapMechanism']) expect(main).not.toHaveProperty(name);
  expect(partitionConfig(config.partitions[1]!, { ...config, serial: 'journal' }).serial).toBe('journal');
});

it('tells the worker which cloner the partition has, and not that of the identity key', () => {
  const own =
    '    role: scratch\n    native: { kind: softhsm }\n    identityPartition:\n      tokenLabel: identities\n      pinFile: i.pin';
  const config = load(GOOD.replace('    role: scratch', own));
  const [main, scratch] = config.partitions.map((one) => partitionConfig(one, config));
  expect(main).not.toHaveProperty('native');
  expect(scratch).toMatchObject({ native: { kind: 'softhsm' } });
  expect(scratch!.identity).not.toHaveProperty('native');
});

it('tells the worker which client and which partitions it clones by', () => {
  const luna = 'luna: { lunacm: bin/lunacm, configuration: luna, records: /shared/records, passwords: prompt }';
  const config = load(`${GOOD.replace('    role: scratch', `${LUNA}\n    role: scratch`)}${luna}\n`);
  const [main, scratch] = config.partitions.map((one) => partitionConfig(one, config));
  expect(main).not.toHaveProperty('native');
  expect(scratch).toMatchObject({
    stateFolder: '/shared/records',
    native: {
      ...{ kind: 'luna', domain: 'payments' },
      sources: [{ serial: '154438865287', label: 'par0', pinFile: join(folder, 'par0.pin') }],
      client: {
        lunacm: join(folder, 'bin/lunacm'),
        configuration: join(folder, 'luna'),
        records: '/shared/records',
        locks: join(folder, 'data/luna/locks'),
        folder: join(folder, 'data/luna'),
        ...{ buffering: 'line', passwords: 'prompt', attemptsFloor: 3, environment: {} },
      },
    },
  });
});

it('gives the identity key a token of its own, with what the partition says and it does not', () => {
  const own = '    role: scratch\n    identityPartition:\n      tokenLabel: identities\n      pinFile: identities.pin';
  const config = load(GOOD.replace('    role: scratch', own));
  const [main, scratch] = config.partitions.map((one) =>
    partitionConfig(one, { ...config, serial: 'of the partition' }),
  );
  expect(main).not.toHaveProperty('identity');
  expect(scratch!.identity).toEqual({
    module: join(folder, 'modules', 'hsm.so'),
    tokenLabel: 'identities',
    pinFile: join(folder, 'identities.pin'),
    environment: {},
    stateFolder: join(folder, 'data', 'login'),
  });
});

it.each<[string, [string, string], string]>([
  ['a cloner that nobody knows', ['    role: scratch', '    native: { kind: nshield }\n    role: scratch'], '20:21'],
  ['a Luna partition without a client', ['    role: scratch', `${LUNA}\n    role: scratch`], '20:21'],
  [
    'a serial number without quotes',
    ['    role: scratch', `${LUNA.replace("'154438865287'", '154438865287')}\n    role: scratch`],
    '20:65',
  ],
  ['a protection that is none', ['    role: scratch', '    acceptUnenforced: [all]\n    role: scratch'], '20:24'],
  ['an unknown key', ['dataFolder: data', 'dataFolder: data\npin: "1234"'], '11:1'],
  ['an unknown key of a partition', ['    role: scratch', '    pin: "1234"\n    role: scratch'], '20:5'],
  ['a missing key', ['dataFolder: data\n', ''], '1:1'],
  ['a site in capitals', ['site: a', 'site: A'], '1:7'],
  ['an address without a port', ['0.0.0.0:7400', '0.0.0.0'], '2:9'],
  ['a role that does not exist', ['role: scratch', 'role: spare'], '20:11'],
  ['a label that no token can have', ['tokenLabel: payments', `tokenLabel: ${'x'.repeat(33)}`], '14:17'],
  ['names that repeat', ['name: scratch', 'name: main'], '12:3'],
  ['an empty path', ['pinFile: main.pin', 'pinFile: ""'], '15:14'],
])('names the place of %s', (_what, [from, to], place) => {
  const error = thrown(() => load(GOOD.replace(from, to)));
  expect(error.code).toBe('CONFIG_INVALID');
  expect(error.message.split('\n').map((line) => line.slice(line.indexOf(file)))).toEqual([
    expect.stringMatching(new RegExp(`^${file.replaceAll('.', '\\.')}:${place}: `)),
  ]);
  expect(error.message).not.toContain('1234');
});

it('needs at least one partition', () => {
  const none = `${GOOD.slice(0, GOOD.indexOf('partitions:'))}partitions: []\n`;
  expect(thrown(() => load(none)).code).toBe('CONFIG_INVALID');
});

it('is a witness only where it says so, and then without partitions', () => {
  const withoutPartitions = GOOD.slice(0, GOOD.indexOf('partitions:'));
  const witness = load(`${withoutPartitions}witness: true\n`);
  expect([witness.witness, witness.partitions]).toEqual([true, []]);
  expect(load(GOOD).witness).toBe(false);
  for (const bad of [withoutPartitions, `witness: true\n${GOOD}`])
    expect(thrown(() => load(bad))).toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('partition'),
    });
});

it('gives no partition a role that it was not given: scratch is declared, or it is not', () => {
  const { partitions } = load(GOOD.replace('    role: scratch\n', ''));
  expect(partitions.map(({ role }) => role)).toEqual(['member', 'member']);
});

it('has the classes of objects that the rules of a group have', () => {
  expect(OBJECT_CLASSES).toEqual(FILTER_CLASSES);
});

const VAULT = `luna: { lunacm: /opt/lunacm }
vaults:
  - name: vault
    serial: '532018'
    label: vault
    officerPasswordFile: vault.pin
    backupPasswordFile: backup.pin
    partition: { name: main, serial: '154438865287', label: par0 }
    scratch: { serial: '154438865301', label: vault-scratch, pinFile: vault-scratch.pin }
`;

it('takes a vault with the partition that it is for, and keeps three backups by default', () => {
  expect(load(GOOD + VAULT).vaults).toMatchObject([
    {
      ...{ keep: 3, client: { lunacm: '/opt/lunacm', configuration: '/etc', buffering: 'line' } },
      ...{ officerPasswordFile: join(folder, 'vault.pin'), backupPasswordFile: join(folder, 'backup.pin') },
      scratch: { pinFile: join(folder, 'vault-scratch.pin') },
    },
  ]);
  expect(load(GOOD).vaults).toEqual([]);
});

it.each([
  ['name: main, serial', 'name: other, serial', 'vaults.0.partition.name', 'expected one of the member partitions'],
  ['name: main, serial', 'name: scratch, serial', 'vaults.0.partition.name', 'expected one of the member partitions'],
  ["serial: '532018'", "serial: '154438865287'", 'vaults.0.serial', 'found that of the partition'],
  ["serial: '154438865301'", "serial: '154438865287'", 'vaults.0.scratch.serial', 'a drill clears all of it'],
  // Its own keys would be cleared with the rest.
  ['label: vault-scratch', 'label: scratch', 'vaults.0.scratch.label', 'a drill clears all of it'],
  ["serial: '532018'", "serial: '53 2018'", 'vaults.0.serial', 'slot list'],
  ['    label: vault\n', '    label: "va?ult"\n', 'vaults.0.label', 'slot list'],
  ['luna: { lunacm: /opt/lunacm }\n', '', 'vaults.0', 'expected a `luna` section'],
])('refuses a vault with %s replaced by %s, and names the place', (from, to, place, expected) => {
  const error = thrown(() => load(GOOD + VAULT.replace(from, to)));
  expect(error.code).toBe('CONFIG_INVALID');
  expect(error.message).toContain(place);
  expect(error.message).toContain(expected);
});

it('refuses to drill in a partition that keys are cloned from: it is a member elsewhere', () => {
  const sources = LUNA.replace('154438865287', '0154438865301');
  const error = thrown(() => load(GOOD.replace('    role: scratch', `${sources}\n    role: scratch`) + VAULT));
  expect(error.code).toBe('CONFIG_INVALID');
  expect(error.message).toContain('vaults.0.scratch.serial');
  expect(error.message).toContain('native.sources');
  // Another one may be.
  load(GOOD.replace('    role: scratch', `${LUNA}\n    role: scratch`) + VAULT);
});
