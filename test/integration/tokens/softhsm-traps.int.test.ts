/**
 * Traps of SoftHSM that no other test covers, each with the protection against it. docs/devices/softhsm2.md lists all
 * traps.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, renameSync, watch, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openPartition } from '@antipode/hsm-core';
import { SCAN_GAP_MS, SealedGroup } from '@antipode/hsm-core/testing';
import { silentLog, systemClock } from '@antipode/runtime';
import { rejection } from '@antipode/runtime/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { flags } from '../../attacks/support/templates.ts';
import { childStartedBy } from '../../support/children.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { halveKeys, onToken } from '../../support/raw-token.ts';
import { makeToken, SOFTHSM_MODULE, spyModule, type TestToken } from '../../support/tokens.ts';

const [AES_KEY_GEN, GENERIC_SECRET_KEY_GEN] = [0x1080, 0x350];
const [TOKEN, VALUE_LEN] = [0x001, 0x161];
const GROUP = 'payments';

describe('a token', () => {
  let token: TestToken;
  beforeEach(() => {
    token = makeToken('traps');
  });
  afterEach(() => token.remove());

  it('that is not there at the first look is there at the next: starts at the same moment hide it', async () => {
    // The folder comes into its place when the first look has ended, as OpenSC's spy writes down.
    const [tokens, hidden] = [join(token.folder, 'tokens'), join(token.folder, 'hidden')];
    const log = join(token.folder, 'spy.log');
    writeFileSync(log, '');
    renameSync(tokens, hidden);
    execFileSync('mkdir', [tokens]);
    const looked = Promise.withResolvers<void>();
    const watcher = watch(log, () => {
      if (readFileSync(log, 'latin1').includes('C_Finalize')) looked.resolve();
    });
    const environment = { ...token.environment, PKCS11SPY: SOFTHSM_MODULE, PKCS11SPY_OUTPUT: log };
    const opening = openPartition(
      { ...token.config, module: spyModule(), environment },
      { log: silentLog, clock: systemClock },
    );
    await looked.promise;
    watcher.close();
    execFileSync('rmdir', [tokens]);
    renameSync(hidden, tokens);
    const provider = await opening;
    expect((await provider.describe()).label).toBe('traps');
    await provider.close();
  });

  it('runs on the OpenSSL of the system, not on the one inside Node', () => {
    const cryptoki = import.meta.resolve('@antipode/cryptoki');
    const script = `
      const { loadCryptoki } = await import(${JSON.stringify(cryptoki)});
      const loaded = loadCryptoki(${JSON.stringify(SOFTHSM_MODULE)});
      loaded.finalize();`;
    const output = join(token.folder, 'bindings');
    execFileSync(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, ...token.environment, LD_DEBUG: 'bindings', LD_DEBUG_OUTPUT: output },
      stdio: 'pipe',
    });
    const lines = readdirSync(token.folder)
      .filter((name) => name.startsWith('bindings'))
      .flatMap((name) => readFileSync(join(token.folder, name), 'latin1').split('\n'));
    const homes = lines.flatMap((line) => {
      const found = /binding file \S*libsofthsm2\.so \[0\] to (\S+) \[0\]: normal symbol `(?:EVP|BN|EC|RSA)_/.exec(
        line,
      );
      return found === null ? [] : [found[1]!.split('/').at(-1)];
    });
    expect(homes.length).toBeGreaterThan(50);
    expect(new Set(homes)).toEqual(new Set(['libcrypto.so.3']));
  });
});

describe('a partition whose disk is full', () => {
  it('is called full, not the sealed object changed: SoftHSM has one answer for both', async () => {
    const [a, b] = await Promise.all([TestMember.make('a'), TestMember.make('b')]);
    const group = new SealedGroup();
    try {
      await enrolTogether([a, b], { group: group.name, version: 1 });
      a.token.makeAes('01');
      const target = await group.captured(a);
      await b.provider.close();
      const worker = await childStartedBy(() => b.open());
      // No file of that process may grow any more; Node ignores the signal that comes with it.
      const limit = (bytes: string) => execFileSync('prlimit', ['--pid', String(worker), `--fsize=${bytes}:unlimited`]);
      limit('0');
      expect((await rejection(group.apply(b, target))).code).toBe('HSM_FULL');
      limit('unlimited');
      expect((await group.apply(b, target)).applied).toHaveLength(1);
      expect((await group.verify(b, target)).proof.failed).toBe(0);
    } finally {
      await Promise.all([a.close(), b.close()]);
    }
  });
});

describe('a member', () => {
  let member: TestMember;
  const domainKey = (): bigint => member.keyring.domainKey(GROUP, 1).handle;
  const application = async () =>
    (await member.provider.inventory()).filter(({ handle }) => !member.keyring.ownHandles.has(handle));
  beforeEach(async () => {
    member = await TestMember.make('traps');
    await enrolTogether([member], { group: GROUP, version: 1 });
  });
  afterEach(() => member.close());

  it('scans no more often than other processes bear that make keys', async () => {
    const { provider } = member;
    await provider.inventory();
    const started = systemClock.monotonicMs();
    await Promise.all([provider.inventory(), provider.inventory(), provider.inventory()]);
    // There are two gaps between three scans, however late the answer to the scan before them came.
    expect(systemClock.monotonicMs() - started).toBeGreaterThan(1.9 * SCAN_GAP_MS);
  });

  it('takes no MAC for a proof: that of a secret does not tell whether it was padded', async () => {
    onToken(member.token, (cryptoki, session) =>
      cryptoki.generateKey(session, { type: GENERIC_SECRET_KEY_GEN }, [
        [VALUE_LEN, 32],
        [TOKEN, true],
        ...flags({ private: true, sensitive: true, extractable: true, sign: true, verify: true }),
      ]),
    );
    await member.reopen();
    const { handle } = (await application())[0]!;
    const attributes = { sign: true, verify: true };
    const item = { handle, objectClass: 'secret-key', keyType: 'generic-secret', sizeBits: 256, attributes } as const;
    const [outcome] = await member.provider.prove(domainKey(), [item]);
    expect(outcome).toMatchObject({ proved: false, checks: [{ use: 'sign', outcome: 'proved' }] });
  });

  it('tells a half-made AES key that it cannot even wrap from a missing mechanism', async () => {
    const uses = { encrypt: true, decrypt: true, sign: false, verify: false, wrap: false, unwrap: false };
    onToken(member.token, (cryptoki, session) =>
      cryptoki.generateKey(session, { type: AES_KEY_GEN }, [
        [VALUE_LEN, 32],
        [TOKEN, true],
        ...flags({ private: true, sensitive: true, extractable: true, ...uses }),
      ]),
    );
    await member.provider.close();
    // As it is when the kill comes before CKA_EXTRACTABLE is written, too.
    halveKeys(member.token, { also: ['extractable'] });
    await member.open();
    const { handle, attributes } = (await application())[0]!;
    expect(attributes).toMatchObject({ encrypt: true, decrypt: true });
    expect(await member.provider.challenge(domainKey(), [handle])).toEqual(['refuses']);
  });

  it('reads a key that went between search and reading as gone, and the others all the same', async () => {
    for (const id of ['01', '02']) member.token.makeAes(id);
    const [first, second] = (await application()).map(({ handle }) => handle);
    member.token.tool('--delete-object', '--type', 'secrkey', '--id', '01');
    const read = await member.provider.read([first!, second!]);
    expect(read.map((object) => object?.attributes.id).filter((found) => found !== undefined)).toEqual([
      Uint8Array.of(2),
    ]);
    expect(await member.provider.destroy([first!, second!])).toEqual([]);
  });
});
