/** The agent's partitions over real workers: when a worker is kept, and when it is another one. */
import { readdirSync, renameSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { initialiseIdentity, openPartition } from '@antipode/hsm-core';
import { Log, silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import type { Partition, Partitions } from '@antipode/site-agent/testing';
import { Journal, type RecyclePolicy, workerPartitions } from '@antipode/site-agent/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openRawToken } from '../../attacks/support/raw-token.ts';
import { flags, label } from '../../attacks/support/templates.ts';
import { childStartedBy } from '../../support/children.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { filesOf, flipAttribute } from '../../support/raw-token.ts';
import { makeAes, makeRsa } from '../../support/token-pair.ts';
import { makeToken, type TestToken } from '../../support/tokens.ts';

const MIB = 1024 ** 2;

let token: TestToken;
let journal: Journal;
let partitions: Partitions | undefined;
const lines: string[] = [];

beforeEach(async () => {
  token = makeToken('main');
  journal = Journal.open(join(token.folder, 'data'));
  lines.length = 0;
  const provider = await openPartition(token.config, { log: silentLog, clock: systemClock });
  const announce = (serial: string, ckaId: Uint8Array): void => journal.identities.announce(serial, ckaId);
  journal.identities.add('main', await initialiseIdentity({ provider, prng: systemPrng, announce }));
  await provider.close();
});

afterEach(async () => {
  await partitions?.close();
  journal.close();
  token.remove();
});

/** The partition of the token; `told` hears each line of its log. */
function opened(recycle?: RecyclePolicy, told: (line: string) => void = () => {}): Partition {
  const { module, tokenLabel, pinFile, environment = {} } = token.config;
  const write = (line: string): void => {
    lines.push(line);
    told(line);
  };
  const log = new Log({ level: 'info', format: 'text', write });
  const settings = [{ name: 'main', module, tokenLabel, pinFile, environment, role: 'member' as const }];
  partitions = workerPartitions({
    settings,
    journal,
    clock: systemClock,
    dataFolder: join(token.folder, 'data'),
    log,
    ...(recycle === undefined ? {} : { recycle }),
  });
  return partitions.all[0]!;
}

/** Which provider, and so which worker, each of some turns had. */
async function providersOf(turns: number, recycle: RecyclePolicy): Promise<object[]> {
  const main = opened(recycle);
  const seen: object[] = [];
  for (let turn = 0; turn < turns; turn += 1)
    await main.use(async ({ provider }) => {
      await provider.inventory();
      seen.push(provider);
    });
  return seen;
}

it('remember what the device makes of an RSA key, and compare after every start', async () => {
  const own = filesOf(token);
  const application = await openRawToken(token);
  await makeRsa(application, label('rsa'), ...flags({ sign: true }));
  const rsa = filesOf(token);
  await makeAes(application, ...label('kek'), ...flags({ wrap: true, unwrap: true }));
  const kek = [...filesOf(token)].filter((path) => !rsa.has(path));
  await application.close();
  const proof = async () => {
    await partitions?.close();
    const [outcome] = await opened().use(async ({ provider }) => {
      const objects = await provider.inventory();
      const { handle, publicHalf } = objects.find(
        ({ keyType, objectClass }) => keyType === 'rsa' && objectClass === 'private-key',
      )!;
      const kind = { objectClass: 'private-key', keyType: 'rsa', sizeBits: 2048, attributes: { sign: true } } as const;
      const item = { handle, ...kind, publicHalf: publicHalf!, blobSha256: Buffer.alloc(32, 7) };
      return provider.prove(objects.find(({ keyType }) => keyType === 'aes')!.handle, [item]);
    });
    return outcome?.proved;
  };
  expect([await proof(), await proof()]).toEqual([true, true]);
  const CKA_PRIME_1 = 0x124;
  expect(flipAttribute(token, CKA_PRIME_1, { but: new Set([...own, ...kek]) })).toBe(1);
  expect(await proof()).toBe(false);
});

it('keep their worker, which takes less than half a gigabyte', async () => {
  const providers = await providersOf(3, { residentBytesMax: 512 * MIB, turnsMin: 1 });
  expect(new Set(providers).size).toBe(1);
  expect(lines.join()).not.toContain('recycled');
});

it('begin again with a worker that has grown too big, after some turns at least', async () => {
  const providers = await providersOf(4, { residentBytesMax: 20 * MIB, turnsMin: 2 });
  expect(providers.map((provider) => providers.indexOf(provider))).toEqual([0, 0, 2, 2]);
  expect(lines.filter((line) => line.includes('HSM worker recycled'))).toHaveLength(2);
});

it('open another worker within a pass when theirs has died idle, before any order needs it', async () => {
  const lost = Promise.withResolvers<void>();
  const main = opened(undefined, (line) => line.includes('HSM worker lost') && lost.resolve());
  const first = await childStartedBy(() => main.warmUp());
  process.kill(first, 'SIGKILL');
  await lost.promise;
  const second = await childStartedBy(() => main.warmUp());
  expect(second).not.toBe(first);
  await main.use(({ provider }) => provider.inventory());
  expect(main.failure).toBeUndefined();
});

it('open another worker when theirs died in work that made another error of it, or none', async () => {
  const main = opened();
  const pid = await childStartedBy(() => main.warmUp());
  const died = main.use(async ({ provider }) => {
    process.kill(pid, 'SIGKILL');
    await provider.inventory().catch(() => []);
  });
  await died;
  expect(await main.use(({ provider }) => provider.inventory())).not.toEqual([]);
});

describe('a domain key that was away when the partition was opened', () => {
  const GROUP = 'payments';
  const filesNow = (): string[] =>
    readdirSync(join(token.folder, 'tokens'), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => join(parentPath, name));

  it('is found by the next pass, and until then is what is wrong with the partition', async () => {
    const member = new TestMember(token);
    member.identity = journal.identities.of('main')!;
    await member.open();
    const before = new Set(filesNow());
    await enrolTogether([member], { group: GROUP, version: 1 });
    await member.provider.close();
    for (const record of member.domainKeys) journal.domainKeys.add(member.serial, record);
    const key = filesNow().filter((path) => !before.has(path) && path.endsWith('.object') && statSync(path).size > 0);
    for (const path of key) renameSync(path, `${path}.away`);

    const main = opened();
    await main.warmUp();
    expect(main.failure).toMatchObject({ code: 'DOMAIN_KEY_MISSING', details: { group: GROUP, version: 1 } });
    expect((await rejection(main.use(async ({ keyring }) => keyring.domainKey(GROUP, 1)))).code).toBe(
      'DOMAIN_KEY_MISSING',
    );

    for (const path of key) renameSync(`${path}.away`, path);
    await main.warmUp();
    expect(main.failure).toBeUndefined();
    expect((await main.use(async ({ keyring }) => keyring.domainKey(GROUP, 1))).version).toBe(1);
  });
});
