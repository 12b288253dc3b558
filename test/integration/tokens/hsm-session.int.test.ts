/**
 * A void session, through a module that lies on order. The agent's partition restarts its worker and repeats the work.
 * If that does not help, it reports the answer of the HSM. It blames no object.
 */
import { readdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { type HsmProvider, initialiseIdentity, openPartition, ReplicaMemory, scrub } from '@antipode/hsm-core';
import { SealedGroup } from '@antipode/hsm-core/testing';
import { type ErrorCode, Log, silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import type { OpenPartition, Partition } from '@antipode/site-agent/testing';
import { Journal, workerPartitions } from '@antipode/site-agent/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openRawToken } from '../../attacks/support/raw-token.ts';
import { flags, label } from '../../attacks/support/templates.ts';
import { type Fitting, type LyingToken, lying, type Order } from '../../support/devices/lying-token.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { makeAes, makeRsa } from '../../support/token-pair.ts';
import { makeToken } from '../../support/tokens.ts';

type End = () => Promise<void> | void;

async function endAll(ends: End[]): Promise<void> {
  for (const end of ends.splice(0).reverse()) await end();
}

describe('a partition of the agent whose session is void', () => {
  let token: LyingToken;
  let partition: Partition;
  let journal: Journal;
  const lines: string[] = [];
  const ends: End[] = [];
  afterAll(() => endAll(ends));
  beforeEach(() => {
    token.tell();
    lines.length = 0;
  });

  beforeAll(async () => {
    token = lying(makeToken('void'));
    ends.push(token.remove);
    const dataFolder = join(token.folder, 'data');
    journal = Journal.open(dataFolder);
    const provider = await openPartition(token.config, { log: silentLog, clock: systemClock });
    const announce = (serial: string, ckaId: Uint8Array): void => journal.identities.announce(serial, ckaId);
    journal.identities.add('main', await initialiseIdentity({ provider, prng: systemPrng, announce }));
    await provider.close();
    const { module, tokenLabel, pinFile, environment = {} } = token.config;
    const settings = [{ name: 'main', module, tokenLabel, pinFile, environment, role: 'member' as const }];
    const log = new Log({ level: 'info', format: 'text', write: (line) => lines.push(line) });
    const partitions = workerPartitions({ settings, journal, dataFolder, clock: systemClock, log });
    ends.push(() => journal.close());
    ends.push(() => partitions.close());
    partition = partitions.all[0]!;
    await partition.warmUp();
  });

  const changing = (open: OpenPartition): HsmProvider => open.under({ group: 'any', epoch: 1n }).provider;
  const sign = ({ provider, keyring }: OpenPartition): Promise<Uint8Array> =>
    provider.signAsIdentity(keyring.identity.handle, Buffer.from('x'));

  const VOID: readonly (readonly [code: (Order & { lie: 'refuse' })['code'], fitting: Fitting])[] = [
    ['CKR_GENERAL_ERROR', {}],
    ['CKR_FUNCTION_FAILED', {}],
    ['CKR_FUNCTION_CANCELED', {}],
    ['CKR_SESSION_HANDLE_INVALID', {}],
    ['CKR_SESSION_CLOSED', {}],
    ['CKR_CRYPTOKI_NOT_INITIALIZED', {}],
    ['CKR_USER_NOT_LOGGED_IN', {}],
    ['CKR_OBJECT_HANDLE_INVALID', {}],
    ['CKR_KEY_HANDLE_INVALID', {}],
    ['CKR_OPERATION_ACTIVE', { function: 'C_SignInit' }],
    ['CKR_OPERATION_ACTIVE', { function: 'C_Sign' }],
    ['CKR_OPERATION_NOT_INITIALIZED', {}],
    [0x80000101, {}],
    [0x7fff, {}],
  ];

  it('tells each of its workers the epochs that the agent has persisted, before any change', async () => {
    const group = 'payments';
    // Destroys nothing, and is a change of the token all the same.
    const change = async (epoch?: bigint): Promise<string> =>
      partition
        .use(async (open) => (epoch === undefined ? open : open.under({ group, epoch })).provider.destroy([]))
        .then(
          () => 'done',
          (refused: { code: string }) => refused.code,
        );
    journal.tenure.raise(group, { epoch: 5n, owner: 'a' });
    expect([await change(), await change(4n), await change(5n)]).toEqual(['WRITE_UNFENCED', 'EPOCH_STALE', 'done']);
    // It hears of it while it works. The next one knows it from the beginning.
    journal.tenure.raise(group, { epoch: 6n, owner: 'b' });
    expect([await change(5n), await change(6n)]).toEqual(['EPOCH_STALE', 'done']);
    token.tell({ lie: 'refuse', code: 'CKR_SESSION_CLOSED', untilRestart: 1 });
    const before = token.calls('C_Initialize');
    await partition.use(sign);
    expect(token.calls('C_Initialize')).toBe(before + 1);
    expect([await change(5n), await change(6n)]).toEqual(['EPOCH_STALE', 'done']);
  });

  it.each(VOID)('has another worker do the work when the HSM answers %s', async (code, fitting) => {
    token.tell({ lie: 'refuse', code, ...fitting, untilRestart: 1 });
    const before = token.calls('C_Initialize');
    expect((await partition.use(sign)).length).toBe(64);
    expect(token.calls('C_Initialize') - before).toBe(1);
    expect(partition.failure).toBeUndefined();
    expect(lines.filter((line) => line.includes('session is void'))).toHaveLength(1);
  });

  it('tells the name that the HSM gives and the call, where a new session does not help', async () => {
    token.tell({ lie: 'refuse', code: 'CKR_FUNCTION_FAILED', function: 'C_FindObjectsInit', after: 5 });
    const look = (): Promise<unknown> =>
      partition.use(async ({ provider }) => {
        for (let number = 0; number < 4; number += 1) await provider.findUnder([Buffer.from('nobody')]);
      });
    const details = { call: 'C_FindObjectsInit', returnValue: 'CKR_FUNCTION_FAILED' };
    const refused = await rejection(look().then(look));
    expect(refused.details).toMatchObject(details);
    const ofNew = { function: 'C_GenerateKeyPair', label: 'antipode identity' } as const;
    token.tell({ lie: 'refuse', code: 'CKR_FUNCTION_FAILED', ...ofNew });
    const generate = (): Promise<unknown> => partition.use((open) => changing(open).generateIdentity(Buffer.of(7)));
    expect(await rejection(generate())).toMatchObject({
      code: 'HSM_REFUSED',
      details: { call: 'C_GenerateKeyPair', returnValue: 'CKR_FUNCTION_FAILED' },
    });
    // The partition shows the fault until some work succeeds.
    expect(partition.failure?.message).toContain('CKR_FUNCTION_FAILED to C_GenerateKeyPair');
    expect(lines.join('\n')).toContain('CKR_FUNCTION_FAILED');
    token.tell();
    await generate();
    expect(partition.failure).toBeUndefined();
  });

  it('is used again when its token store was away and is back', async () => {
    const [store, away] = [join(token.folder, 'tokens'), join(token.folder, 'away')];
    renameSync(store, away);
    const gone = await rejection(partition.use((open) => changing(open).generateIdentity(Buffer.alloc(16, 9))));
    expect(gone.code).toBe('MODULE_UNAVAILABLE');
    expect(partition.failure).toBeDefined();
    renameSync(away, store);
    expect((await partition.use(sign)).length).toBe(64);
    expect(partition.failure).toBeUndefined();
    expect(readdirSync(store).length).toBeGreaterThan(0);
  });

  it('goes on in the same worker when an operation was left open, and asks for more room where it needs more', async () => {
    const application = await openRawToken(token.honest);
    ends.push(() => application.close());
    await makeRsa(application, label('big answers'), ...flags({ sign: true }));
    token.tell({ lie: 'refuse', code: 'CKR_BUFFER_TOO_SMALL', function: 'C_Sign', label: 'big answers' });
    const before = token.calls('C_Initialize');
    await partition.use(async (open) => {
      const keys = (await open.provider.inventory()).filter(({ handle }) => !open.keyring.ownHandles.has(handle));
      const key = keys.find(({ objectClass }) => objectClass === 'private-key');
      await open.provider.challenge(open.keyring.identity.handle, [key!.handle]);
      expect((await sign(open)).length).toBe(64);
    });
    expect(token.calls('C_Initialize')).toBe(before);
  });
});

describe('a link that fails while objects are looked at', () => {
  const ends: End[] = [];
  afterEach(() => endAll(ends));

  async function replicated() {
    const a = await TestMember.make('a');
    ends.push(() => a.close());
    const token = lying(makeToken('b'));
    const b = await TestMember.on(token);
    ends.push(() => b.close());
    await enrolTogether([a, b], { group: 'payments', version: 1 });
    const application = await openRawToken(a.token);
    ends.push(() => application.close());
    await makeAes(application, ...label('one'), ...flags({ encrypt: true, decrypt: true }));
    await makeAes(application, ...label('two'), ...flags({ encrypt: true, decrypt: true }));
    const group = new SealedGroup();
    const sealed = await group.captured(a);
    return { a, b, token, application, group, sealed };
  }

  const LINK: readonly (Order & { lie: 'refuse' })['code'][] = [
    'CKR_GENERAL_ERROR',
    'CKR_FUNCTION_FAILED',
    'CKR_DEVICE_ERROR',
    'CKR_KEY_HANDLE_INVALID',
    0x80000101,
  ];

  it.each(LINK)('does not count as their damage when the device answers %s to everything', async (code) => {
    const { b, token, group, sealed } = await replicated();
    const memory = new ReplicaMemory();
    await group.apply(b, sealed, { memory });
    const look = () =>
      scrub({ provider: b.provider, keyring: b.keyring, clock: systemClock, target: sealed, known: new Map() });
    expect(await look()).toMatchObject({ proof: { proved: 2, failed: 0 } });
    // From the first use of a key on: the objects are read by then.
    token.tell({ lie: 'refuse', code, function: 'C_EncryptInit' }, { lie: 'refuse', code, function: 'C_CreateObject' });
    const expected: ErrorCode = code === 'CKR_DEVICE_ERROR' ? 'HSM_UNAVAILABLE' : 'HSM_SESSION_VOID';
    expect((await rejection(look())).code).toBe(expected);
    token.tell();
    await b.reopen();
    expect(await look()).toMatchObject({ proof: { proved: 2, failed: 0 }, missing: [], altered: [] });
  });

  it('ends an apply with what the link said, which is then made whole by the next try', async () => {
    const { b, token, group, sealed } = await replicated();
    token.tell({ lie: 'refuse', code: 'CKR_FUNCTION_FAILED', function: 'C_UnwrapKey' });
    expect(await rejection(group.apply(b, sealed))).toMatchObject({
      code: 'HSM_SESSION_VOID',
      details: { returnValue: 'CKR_FUNCTION_FAILED' },
    });
    token.tell();
    await b.reopen();
    const memory = new ReplicaMemory();
    await group.apply(b, sealed, { memory });
    expect((await group.verify(b, sealed, { memory })).proof).toMatchObject({ proved: 2, failed: 0 });
  });
});
