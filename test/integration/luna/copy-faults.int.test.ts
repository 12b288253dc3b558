/** A copy from partition to partition that is cut, refused or not begun: what is there counts, and the rest has a code. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type HsmProvider, openPartition } from '@antipode/hsm-core';
import { silentLog, systemClock } from '@antipode/runtime';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import type { Fault } from '../../emulators/lunacm/faults.ts';
import { LunaNetwork } from '../../support/luna-network.ts';
import { CloningDomain, type PairedToken, paired } from '../../support/softhsm-pair.ts';
import { makeToken, temporaryFolder, USER_PIN } from '../../support/tokens.ts';

type Item = Parameters<HsmProvider['cloneNative']>[0]['items'][number];

let luna: LunaNetwork;
let source: PairedToken;
let target: PairedToken;
let from: HsmProvider;
let to: HsmProvider;
let items: readonly Item[];

beforeAll(async () => {
  [source, target] = [paired(makeToken('par0')), paired(makeToken('par1'))];
  await new CloningDomain(source).join(target);
  luna = new LunaNetwork(
    temporaryFolder('luna-faults'),
    [source, target].map((one) => ({ ...one, pin: USER_PIN })),
  );
  for (const id of ['01', '02', '03'])
    source.token.tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', id, '--label', `pair ${id}`);
  from = await open(source);
  to = await open(target);
  const keys = (await from.inventory()).filter(({ objectClass }) => objectClass === 'private-key');
  items = keys.map(({ objectClass, keyType, sizeBits, attributes, publicHalf }) => ({
    objectClass: objectClass as Item['objectClass'],
    ...(keyType === undefined || keyType === 'unsupported' ? {} : { keyType }),
    sizeBits,
    attributes,
    ...(publicHalf === undefined ? {} : { publicHalf }),
  }));
  expect(items).toHaveLength(3);
});

afterEach(async () => {
  fault();
  const left = await to.inventory();
  expect(await to.destroy(left.map(({ handle }) => handle))).toEqual([]);
});

afterAll(async () => {
  await from?.close();
  await to?.close();
  for (const { token } of [source, target]) token.remove();
  luna.remove();
});

const open = ({ token, serial }: PairedToken): Promise<HsmProvider> =>
  openPartition({ ...token.config, native: luna.cloningOf(serial) }, { log: silentLog, clock: systemClock });

const fault = (...faults: readonly Fault[]): void =>
  writeFileSync(join(luna.folder, 'faults.json'), JSON.stringify(faults));

async function outcomes(): Promise<{ made: number; codes: (string | undefined)[] }> {
  const found = await to.cloneNative({ domainKey: 0n, source: source.serial, items });
  return {
    made: found.filter((one) => 'handle' in one).length,
    codes: found.flatMap((one) => ('code' in one ? `${one.code} ${one.returnValue ?? ''}`.trim() : [])),
  };
}

it.each<[string, Fault['do']]>([
  ['fails', 'fail'],
  ['ends the tool', 'die'],
])('keeps what was copied before an object that %s, and names the rest', async (_what, how) => {
  fault({ command: 'partition clone', at: 2, do: how });
  const { made, codes } = await outcomes();
  expect([made, codes.length, (await to.inventory()).length]).toEqual([1, 2, 1]);
  for (const code of codes) expect(code).toMatch(/^NATIVE_NOT_CLONED/);
});

it('does not believe a tool that leaves an object out and reports success', async () => {
  fault({ command: 'partition clone', at: 2, do: 'skip' });
  const { made, codes } = await outcomes();
  expect([made, codes.length]).toEqual([2, 1]);
});

it('has all of them at the next try, and none twice', async () => {
  fault({ command: 'partition clone', at: 3, do: 'die' });
  expect((await outcomes()).made).toBe(2);
  fault();
  // The caller asks for what it does not have: the two that are here are refused as copies.
  expect((await outcomes()).made).toBe(1);
  expect(await to.inventory()).toHaveLength(3);
});

it('begins nothing while the source cannot be listed', async () => {
  fault({ command: 'partition contents', at: 0, do: 'fail' });
  const { made, codes } = await outcomes();
  expect([made, new Set(codes)]).toEqual([0, new Set(['NATIVE_SOURCE_UNREACHED LUNA_REFUSED'])]);
  expect(luna.typed.at(-1)).not.toContain('partition clone');
});

it('spends one attempt on a password that the source refuses, and no second one', async () => {
  writeFileSync(source.token.config.pinFile, 'another password\n');
  const logins = (): number => luna.typed.filter((line) => line.startsWith('role login')).length;
  const before = logins();
  for (let turn = 0; turn < 3; turn += 1) {
    const { codes } = await outcomes();
    for (const code of codes) expect(code).toBe('NATIVE_SOURCE_UNREACHED PIN_REFUSED');
  }
  expect(logins() - before).toBe(1);
  writeFileSync(source.token.config.pinFile, `${USER_PIN}\n`);
  expect((await outcomes()).made).toBe(3);
});
