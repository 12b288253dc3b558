/** The sealing protocol between real SoftHSM tokens: every object class, every refusal, no agent and no network. */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CKA, CKM, mechanism } from '@antipode/cryptoki';
import {
  applyGeneration,
  CaptureMemory,
  type CaptureResult,
  captureGeneration,
  distributeDomainKey,
  openPartition,
  openSigned,
  ReplicaMemory,
  readBack,
  rehearse,
  type SealedGeneration,
} from '@antipode/hsm-core';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';
import { bytesEqual, hex, silentLog, systemClock, systemPrng } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { faulty } from '../../support/faulty.ts';
import { enrolTogether, TestMember } from '../../support/members.ts';
import { onToken } from '../../support/raw-token.ts';
import { makeToken, SOFTHSM_MODULE, spyModule } from '../../support/tokens.ts';

const GROUP = 'payments';
const NO_FILTER = { excludeIds: [], excludeLabels: [], excludeClasses: [] };

let a: TestMember;
let b: TestMember;
let scratch: TestMember;
let memory: CaptureMemory;
let newest: SealedGeneration | undefined;
const blobs = new Map<string, Uint8Array>();

async function capture(
  member: TestMember,
  options: Partial<Parameters<typeof captureGeneration>[0]> = {},
): Promise<CaptureResult> {
  const result = await captureGeneration({
    provider: member.provider,
    keyring: member.keyring,
    clock: systemClock,
    prng: systemPrng,
    memory,
    group: GROUP,
    epoch: 1n,
    number: (newest?.generation.number ?? 0n) + 1n,
    domainKeyVersion: 1,
    previous: newest,
    filter: NO_FILTER,
    checkFence: () => {},
    ...options,
  });
  for (const [digest, blob] of result.blobs) blobs.set(digest, blob);
  if (options.filter === undefined) newest = result.sealed ?? newest;
  return result;
}

const noJournal = { openIntents: () => [], begin: () => {}, commit: () => {} };

function apply(
  member: TestMember,
  target: SealedGeneration,
  options: Partial<Parameters<typeof applyGeneration>[0]> = {},
) {
  return applyGeneration({
    provider: member.provider,
    keyring: member.keyring,
    clock: systemClock,
    memory: new ReplicaMemory(),
    target,
    previous: [],
    proved: undefined,
    blobOf: (digest) => blobs.get(digest)!,
    journal: noJournal,
    checkFence: () => {},
    ...options,
  });
}

const verifyEverything = (member: TestMember, target: SealedGeneration) =>
  readBack({
    provider: member.provider,
    keyring: member.keyring,
    clock: systemClock,
    memory: new ReplicaMemory(),
    target,
    previous: [],
    journal: noJournal,
    checkFence: () => {},
    objectIds: 'everything',
  });

const countObjects = async (member: TestMember): Promise<number> => (await member.provider.inventory()).length;

beforeAll(async () => {
  [a, b, scratch] = await Promise.all([TestMember.make('a'), TestMember.make('b'), TestMember.make('scratch')]);
  memory = new CaptureMemory();
  await enrolTogether([a, b, scratch], { group: GROUP, version: 1 });
});

afterAll(async () => {
  await Promise.all([a, b, scratch].map((member) => member?.close()));
});

describe('enrolment', () => {
  it('gives every member the same domain key, and no token gives it out again', async () => {
    const tags = [a, b, scratch].map(({ keyring }) => hex(keyring.domainKey(GROUP, 1).checkTag));
    expect(new Set(tags).size).toBe(1);
    const key = a.keyring.domainKey(GROUP, 1).handle;
    const [outcome] = await a.provider.wrap(key, [key]);
    expect(outcome).toMatchObject({ reason: 'unextractable' });
    const [object] = await a.provider.read([key]);
    expect(object?.attributes).toMatchObject({
      sensitive: true,
      extractable: false,
      encrypt: false,
      decrypt: false,
      sign: false,
      derive: false,
      modifiable: false,
      copyable: false,
    });
  });

  const distribute = (
    members: Parameters<typeof distributeDomainKey>[0]['members'],
    isPinned = (identity: string) => a.pins.has(identity),
  ) =>
    distributeDomainKey({
      provider: a.provider,
      keyring: a.keyring,
      prng: systemPrng,
      serial: a.serial,
      group: GROUP,
      version: 9,
      members,
      isPinned,
    });

  it('refuses a peer that this side has not pinned', async () => {
    const { confirmedSerials, failures } = await distribute([b.transport()], () => false);
    expect(confirmedSerials).toEqual([]);
    expect(failures[0]?.error.code).toBe('PEER_NOT_PINNED');
  });

  it('refuses a peer that has not pinned this side', async () => {
    b.pins.delete(a.fingerprint);
    const { failures } = await distribute([b.transport()]);
    b.pins.add(a.fingerprint);
    expect(failures[0]?.error.code).toBe('PEER_NOT_PINNED');
    expect(b.domainKeys.some(({ version }) => version === 9)).toBe(false);
  });

  it('refuses a wrapped key, a nonce or a point that was changed on the way, and installs nothing', async () => {
    const before = await countObjects(b);
    const honest = b.transport();
    const flipped = (bytes: Uint8Array): Uint8Array => bytes.map((byte, index) => (index === 5 ? byte ^ 1 : byte));
    const liars = [
      {
        ...honest,
        complete: (message: Parameters<typeof honest.complete>[0]) =>
          honest.complete({ ...message, wrappedKey: flipped(message.wrappedKey) }),
      },
      {
        ...honest,
        begin: (message: Parameters<typeof honest.begin>[0]) =>
          honest.begin({ ...message, offer: { ...message.offer, nonce: flipped(message.offer.nonce) } }),
      },
      {
        ...honest,
        begin: async (message: Parameters<typeof honest.begin>[0]) => {
          const answer = await honest.begin(message);
          return { ...answer, offer: { ...answer.offer, nonce: flipped(answer.offer.nonce) } };
        },
      },
    ];
    for (const liar of liars) expect((await distribute([liar])).failures[0]?.error.code).toBe('EXCHANGE_REFUSED');
    expect(await countObjects(b)).toBe(before);
  });

  it('refuses a version that is held already', async () => {
    const again = await distributeDomainKey({
      provider: a.provider,
      keyring: a.keyring,
      prng: systemPrng,
      serial: a.serial,
      group: GROUP,
      version: 1,
      members: [b.transport()],
      isPinned: (identity) => a.pins.has(identity),
    });
    expect(again.failures[0]?.error.code).toBe('EXCHANGE_REFUSED');
  });
});

describe('replication of every object class', () => {
  const secret = ['--sensitive', '--extractable'];

  it('captures what it can, names what it cannot, and proves all of it at the standby by use', async () => {
    const tool = (...args: string[]) => a.token.toolAsync(...args);
    for (const bits of [2048, 3072, 4096])
      await tool(
        '--keypairgen',
        '--key-type',
        `rsa:${bits}`,
        '--id',
        `a${bits / 1024}`,
        '--label',
        `rsa ${bits}`,
        '--usage-sign',
        '--usage-decrypt',
        '--extractable',
      );
    for (const [id, curve] of Object.entries({ b1: 'prime256v1', b2: 'secp384r1', b3: 'secp521r1' }))
      await tool(
        '--keypairgen',
        '--key-type',
        `EC:${curve}`,
        '--id',
        id,
        '--label',
        curve,
        '--usage-sign',
        '--usage-derive',
        '--extractable',
      );
    for (const bytes of [16, 24, 32])
      await tool(
        '--keygen',
        '--key-type',
        `aes:${bytes}`,
        '--id',
        `c${bytes / 8}`,
        '--label',
        `aes ${bytes}`,
        ...secret,
      );
    for (const bytes of [16, 32, 64])
      await tool(
        '--keygen',
        '--key-type',
        `GENERIC:${bytes}`,
        '--id',
        `d${bytes / 16}`,
        '--label',
        `generic ${bytes}`,
        ...secret,
      );
    writeFileSync(join(a.token.folder, 'data'), randomBytes(3_000));
    await tool(
      '--write-object',
      join(a.token.folder, 'data'),
      '--type',
      'data',
      '--label',
      'private data',
      '--private',
    );
    const { execFileSync } = await import('node:child_process');
    const certificate = join(a.token.folder, 'c.der');
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-nodes',
        '-keyout',
        `${certificate}.key`,
        '-out',
        certificate,
        '-outform',
        'DER',
        '-subj',
        '/CN=test',
      ],
      { stdio: 'pipe' },
    );
    await tool('--write-object', certificate, '--type', 'cert', '--id', 'e1', '--label', 'certificate');
    await tool('--keypairgen', '--key-type', 'rsa:2048', '--id', 'f1', '--label', 'stays', '--usage-sign');
    await tool('--keygen', '--key-type', 'GENERIC:20', '--id', 'f2', '--label', 'odd', ...secret);
    await tool('--keygen', '--key-type', 'aes:32', '--id', 'f3', '--label', 'readable', '--extractable');

    const { sealed } = await capture(a);
    const { entries, uncaptured } = sealed!.generation;
    const kinds = entries
      .map(({ objectClass, keyType, sizeBits }) => [objectClass, keyType ?? '', sizeBits].join(' '))
      .sort();
    expect(kinds).toEqual(
      [
        ...[2048, 2048, 3072, 4096].map((bits) => `public-key rsa ${bits}`),
        ...[2048, 3072, 4096].map((bits) => `private-key rsa ${bits}`),
        ...[256, 384, 521].flatMap((bits) => [`public-key ec ${bits}`, `private-key ec ${bits}`]),
        ...[128, 192, 256, 256].map((bits) => `secret-key aes ${bits}`),
        ...[128, 160, 256, 512].map((bits) => `secret-key generic-secret ${bits}`),
        'certificate  0',
        'data  0',
      ].sort(),
    );
    expect(uncaptured.map(({ keyType, reason }) => `${keyType} ${reason}`).sort()).toEqual(['rsa unextractable']);

    const applied = await apply(b, sealed!);
    expect(applied).toMatchObject({ unaccounted: 0, divergent: 0, narrowed: 1 });
    expect(applied.applied).toHaveLength(entries.length);
    const { contentDigest, proof } = await verifyEverything(b, sealed!);
    expect(proof).toMatchObject({ proved: entries.length, failed: 0 });
    expect(contentDigest).toBe(sealed!.contentDigest);
  });

  it('changes nothing when it is applied again, also by another process', async () => {
    await b.reopen();
    const before = await countObjects(b);
    expect((await apply(b, newest!)).applied).toEqual([]);
    expect(await countObjects(b)).toBe(before);
  });

  it('gives no new generation when nothing has changed, and wraps only the one key that is new', async () => {
    expect((await capture(a)).sealed).toBeUndefined();
    a.token.tool('--keygen', '--key-type', 'aes:32', '--id', 'c9', '--label', 'new', ...secret);
    const before = newest!;
    const { sealed, sealedObjects } = await capture(a);
    expect(sealedObjects).toBe(1);
    expect(sealed?.generation.previousDigest).toBe(before.digest);
    expect((await apply(b, sealed!, { previous: [before] })).applied).toHaveLength(1);
  });

  it('recognises everything again after a restart of the worker', async () => {
    await a.reopen();
    memory = new CaptureMemory();
    expect((await capture(a)).sealed).toBeUndefined();
  });

  it('keeps entries and blobs of the first source byte for byte when the standby captures', async () => {
    const atB = await capture(b, { memory: new CaptureMemory(), epoch: 2n, filter: { ...NO_FILTER } });
    const before = new Map(newest!.generation.entries.map((entry) => [entry.objectId, entry]));
    expect(atB.sealedObjects).toBe(0);
    expect(atB.sealed?.generation.entries).toHaveLength(before.size);
    for (const entry of atB.sealed?.generation.entries ?? []) expect(entry).toEqual(before.get(entry.objectId));
  });

  it('carries forward what the standby cannot read back, even if the key changed there', async () => {
    const idOf = ({ attributes }: { attributes: { id?: Uint8Array } }) => hex(attributes.id ?? new Uint8Array());
    const first = newest!.generation.entries.find((entry) => idOf(entry) === 'c4')!;
    // What SoftHSM made says of itself, and what it forgets of a key that came by unwrapping.
    expect(first).toMatchObject({ sizeBits: 256, attributes: { local: true, checkValue: expect.any(Uint8Array) } });
    b.token.tool('--type', 'secrkey', '--id', 'c4', '--set-id', 'c7');
    const atB = await capture(b, { memory: new CaptureMemory(), epoch: 2n, filter: { ...NO_FILTER } });
    const entry = atB.sealed!.generation.entries.find(({ objectId }) => objectId === first.objectId)!;
    expect(idOf(entry)).toBe('c7');
    expect({ ...entry, attributes: { ...entry.attributes, id: first.attributes.id } }).toEqual(first);
    b.token.tool('--type', 'secrkey', '--id', 'c7', '--set-id', 'c4');
  });

  it('carries a changed label and a deleted key: one as a change, the other as a tombstone that destroys nothing', async () => {
    const before = newest!;
    const victim = before.generation.entries.find(
      ({ attributes }) => attributes.id !== undefined && hex(attributes.id) === 'c9',
    )!;
    a.token.tool('--delete-object', '--type', 'secrkey', '--id', 'c9');
    const { sealed } = await capture(a);
    expect(sealed?.generation.tombstones.map(({ entry }) => entry.objectId)).toEqual([victim.objectId]);
    const count = await countObjects(b);
    expect(await apply(b, sealed!, { previous: [before] })).toMatchObject({
      applied: [],
      divergent: 0,
      unaccounted: 0,
    });
    expect(await countObjects(b)).toBe(count);
  });

  it('leaves out what the filter excludes, and says so', async () => {
    const { sealed } = await capture(a, {
      memory: new CaptureMemory(),
      filter: { excludeIds: ['B1'], excludeLabels: ['generic *'], excludeClasses: ['certificate'] },
    });
    const excluded = sealed!.generation.uncaptured
      .filter(({ reason }) => reason === 'excluded')
      .map(({ objectClass, keyType }) => `${objectClass} ${keyType ?? ''}`.trim())
      .sort();
    expect(excluded).toEqual([
      'certificate',
      'private-key ec',
      'public-key ec',
      'secret-key generic-secret',
      'secret-key generic-secret',
      'secret-key generic-secret',
    ]);
  });

  it('leaves out a key that every tool prints under an excluded name', async () => {
    const labels = ['site-key', 'site-key\0', 'site-key    ', '\ufeffsite-key'];
    onToken(a.token, (cryptoki, session) => {
      for (const label of labels)
        cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
          [CKA.VALUE_LEN, 32],
          [CKA.TOKEN, true],
          [ATTRIBUTES.label.type, Buffer.from(label)],
          [ATTRIBUTES.sensitive.type, true],
          [ATTRIBUTES.extractable.type, true],
        ]);
    });
    const filter = { excludeIds: [], excludeLabels: ['site-key'], excludeClasses: [] };
    const { sealed } = await capture(a, { memory: new CaptureMemory(), filter });
    const left = sealed!.generation.entries.filter(({ attributes: { label } }) =>
      Buffer.from(label ?? '')
        .toString()
        .includes('site-key'),
    );
    expect(left).toEqual([]);
    expect(sealed!.generation.uncaptured.filter(({ reason }) => reason === 'excluded')).toHaveLength(labels.length);
    const made = await a.provider.inventory();
    const theirs = made.filter(({ attributes: { label } }) =>
      Buffer.from(label ?? '')
        .toString()
        .includes('site-key'),
    );
    await a.provider.destroy(theirs.map(({ handle }) => handle));
  });

  it('proves every key in a scratch partition and leaves it empty', async () => {
    const own = await countObjects(scratch);
    const rehearsal = await rehearse({
      provider: scratch.provider,
      keyring: scratch.keyring,
      clock: systemClock,
      target: newest!,
      blobOf: (digest) => blobs.get(digest)!,
    });
    expect(rehearsal).toMatchObject({
      isClean: true,
      isEqual: true,
      proof: { failed: 0, proved: newest!.generation.entries.length },
    });
    expect(await countObjects(scratch)).toBe(own);
  });

  it('refuses a drill in a partition that is not empty', async () => {
    const refusal = rehearse({
      provider: b.provider,
      keyring: b.keyring,
      clock: systemClock,
      target: newest!,
      blobOf: (digest) => blobs.get(digest)!,
    });
    expect((await rejection(refusal)).code).toBe('SCRATCH_REFUSED');
  });
});

describe('tampering', () => {
  const open = (signed: Uint8Array, options: { isPinned?: boolean; group?: string } = {}) =>
    openSigned(signed, { group: options.group ?? GROUP, isPinned: () => options.isPinned ?? true });

  it('refuses a manifest in which any one bit was changed', () => {
    const { signed } = newest!;
    for (let at = 0; at < signed.length; at += Math.ceil(signed.length / 97)) {
      const changed = signed.map((byte, index) => (index === at ? byte ^ 0x10 : byte));
      expect(['MANIFEST_INVALID', 'PEER_NOT_PINNED']).toContain(
        thrown(() => openSigned(changed, { group: GROUP, isPinned: (identity) => identity === a.fingerprint })).code,
      );
    }
  });

  it('refuses a manifest of a signer that is not pinned, and one of another group', () => {
    expect(thrown(() => open(newest!.signed, { isPinned: false })).code).toBe('PEER_NOT_PINNED');
    expect(thrown(() => open(newest!.signed, { group: 'other' })).code).toBe('MANIFEST_INVALID');
  });

  it('refuses a blob in which one bit was changed, before anything is written', async () => {
    const before = await countObjects(scratch);
    const damaged = (digest: string): Uint8Array =>
      blobs.get(digest)!.map((byte, index) => (index === 0 ? byte ^ 1 : byte));
    const calls: string[] = [];
    const watched = new Proxy(scratch.provider, {
      get: (target, name: keyof typeof scratch.provider) => {
        if (name === 'unwrap' || name === 'create' || name === 'createData') calls.push(name);
        return target[name];
      },
    });
    const refusal = apply(scratch, newest!, { provider: watched, blobOf: damaged });
    expect((await rejection(refusal)).code).toBe('BLOB_INVALID');
    expect(calls).toEqual([]);
    expect(await countObjects(scratch)).toBe(before);
  });

  it('refuses to apply what was sealed under a domain key that this member does not have', async () => {
    const other = { ...newest!, generation: { ...newest!.generation, domainKeyVersion: 7 } };
    expect((await rejection(apply(scratch, other))).code).toBe('DOMAIN_KEY_MISSING');
  });

  it('asks for its fence before it signs', async () => {
    a.token.tool('--keygen', '--key-type', 'aes:16', '--id', 'ca', '--label', 'fence', '--sensitive', '--extractable');
    const refuse = (): void => {
      throw new Error('fenced');
    };
    await expect(capture(a, { checkFence: refuse, memory: new CaptureMemory() })).rejects.toThrow('fenced');
    await capture(a);
  });
});

describe('domain key rotation', () => {
  it('re-seals everything under the new version, and objects keep their identity', async () => {
    await enrolTogether([a, b, scratch], { group: GROUP, version: 2 });
    const before = newest!;
    const { sealed, sealedObjects } = await capture(a, { domainKeyVersion: 2 });
    const wrapped = before.generation.entries.filter(({ blobSha256 }) => blobSha256 !== undefined);
    expect(sealedObjects).toBe(wrapped.length);
    expect(new Set(sealed!.generation.entries.map(({ objectId }) => objectId))).toEqual(
      new Set(before.generation.entries.map(({ objectId }) => objectId)),
    );
    await apply(b, sealed!, { previous: [before] });
    expect((await verifyEverything(b, sealed!)).contentDigest).toBe(sealed!.contentDigest);
  });
});

describe('keys that another process makes meanwhile', () => {
  it('captures a key that looks half made at the first look only when two later looks are equal', async () => {
    a.token.tool('--keygen', '--key-type', 'aes:32', '--id', 'cb', '--label', 'slow', '--sensitive', '--extractable');
    let looks = 0;
    const isSlow = (id: Uint8Array | undefined): boolean => hex(id ?? new Uint8Array()) === 'cb';
    const slow = (await a.provider.inventory()).filter(({ attributes }) => isSlow(attributes.id));
    // As measured beside a running pkcs11-tool: the key is already there, its ID and label are not. Then it has
    // changed.
    const early = faulty(a.provider, {
      look: async (options) => {
        looks += 1;
        const seen = await a.provider.look(options);
        const unnamed = { ...slow[0]!, attributes: { ...slow[0]!.attributes, id: new Uint8Array() } };
        const others = seen.objects.filter(({ handle }) => handle !== slow[0]!.handle);
        return looks > 3 ? seen : { ...seen, objects: [...others, looks === 1 ? unnamed : slow[0]!] };
      },
    });
    const ids = (): string[] =>
      newest!.generation.entries.map(({ attributes }) => hex(attributes.id ?? new Uint8Array()));
    const count = newest!.generation.entries.length;
    await capture(a, { provider: early, domainKeyVersion: 2 });
    expect(newest!.generation.entries).toHaveLength(count);
    expect(newest!.generation.uncaptured.map(({ reason }) => reason)).toContain('settling');
    await capture(a, { provider: early, domainKeyVersion: 2 });
    expect(ids()).toContain('cb');
    expect(newest!.generation.uncaptured.map(({ reason }) => reason)).not.toContain('settling');
  });

  it('captures each of 60 pairs once and whole, and lets none of their makers fail', async () => {
    const maker = (async () => {
      for (let index = 0; index < 60; index += 1) {
        const id = (0x1000 + index).toString(16);
        await a.token.toolAsync(
          '--keypairgen',
          '--key-type',
          'EC:prime256v1',
          '--id',
          id,
          '--label',
          `pair ${index}`,
          '--usage-sign',
          '--extractable',
        );
      }
    })();
    let isMaking = true;
    void maker.finally(() => {
      isMaking = false;
    });
    const seen = new Map<string, string>();
    while (isMaking) {
      await capture(a, { domainKeyVersion: 2 });
      for (const entry of newest!.generation.entries) {
        const id = hex(entry.attributes.id ?? new Uint8Array());
        if (!/^10[0-9a-f]{2}$/.test(id)) continue;
        expect(entry.attributes.label?.length).toBeGreaterThan(0);
        const name = `${entry.objectClass} ${id}`;
        expect(seen.get(name) ?? entry.objectId).toBe(entry.objectId);
        seen.set(name, entry.objectId);
      }
    }
    await maker;
    await capture(a, { domainKeyVersion: 2 });
    await capture(a, { domainKeyVersion: 2 });
    const { entries, uncaptured } = newest!.generation;
    const made = entries.filter(({ attributes }) => /^10[0-9a-f]{2}$/.test(hex(attributes.id ?? new Uint8Array())));
    expect(made).toHaveLength(120);
    expect(new Set(made.map(({ objectId }) => objectId)).size).toBe(120);
    expect(made.every(({ publicHalf, attributes }) => publicHalf !== undefined && attributes.label !== undefined)).toBe(
      true,
    );
    expect(uncaptured.filter(({ reason }) => reason === 'settling')).toEqual([]);
  });
});

describe('the PIN', () => {
  it('is tried once when it is wrong, however often the worker is started, and again when the file changes', async () => {
    const token = makeToken('pin');
    try {
      // OpenSC's spy sits between us and the token and writes down every call.
      const spyLog = join(token.folder, 'spy.log');
      const config = {
        ...token.config,
        module: spyModule(),
        environment: { ...token.environment, PKCS11SPY: SOFTHSM_MODULE, PKCS11SPY_OUTPUT: spyLog },
      };
      const attempts = (): number =>
        existsSync(spyLog) ? readFileSync(spyLog, 'latin1').split('C_Login\n').length - 1 : 0;
      const wrong = join(token.folder, 'wrong.pin');
      writeFileSync(wrong, '00000000\n', { mode: 0o600 });
      const attempt = async (pinFile: string): Promise<string> => {
        try {
          await (await openPartition({ ...config, pinFile }, { log: silentLog, clock: systemClock })).close();
          return 'open';
        } catch (error) {
          return (error as { code: string }).code;
        }
      };
      for (let start = 0; start < 4; start += 1) expect(await attempt(wrong)).toBe('PIN_REFUSED');
      expect(attempts()).toBe(1);
      writeFileSync(wrong, '11111111\n');
      for (let start = 0; start < 2; start += 1) expect(await attempt(wrong)).toBe('PIN_REFUSED');
      expect(attempts()).toBe(2);
      expect(await attempt(config.pinFile)).toBe('open');
      expect(attempts()).toBe(3);
    } finally {
      token.remove();
    }
  });

  it('is refused when others can read its file, or the file is not there', async () => {
    const token = makeToken('exposed');
    try {
      const exposed = join(token.folder, 'exposed.pin');
      writeFileSync(exposed, '1234\n');
      chmodSync(exposed, 0o644);
      expect(
        (await rejection(openPartition({ ...token.config, pinFile: exposed }, { log: silentLog, clock: systemClock })))
          .code,
      ).toBe('PIN_FILE_EXPOSED');
      expect(
        (
          await rejection(
            openPartition({ ...token.config, pinFile: `${exposed}.none` }, { log: silentLog, clock: systemClock }),
          )
        ).code,
      ).toBe('PIN_FILE_UNREADABLE');
      expect(
        (
          await rejection(
            openPartition({ ...token.config, tokenLabel: 'nobody' }, { log: silentLog, clock: systemClock }),
          )
        ).code,
      ).toBe('PARTITION_NOT_FOUND');
      expect(
        (
          await rejection(
            openPartition({ ...token.config, module: '/nowhere.so' }, { log: silentLog, clock: systemClock }),
          )
        ).code,
      ).toBe('MODULE_UNAVAILABLE');
    } finally {
      token.remove();
    }
  });
});

describe('secrecy', () => {
  it('puts no key value into manifest or blobs', async () => {
    const planted = randomBytes(32);
    const file = join(a.token.folder, 'planted');
    writeFileSync(file, planted);
    a.token.tool(
      '--write-object',
      file,
      '--type',
      'secrkey',
      '--key-type',
      'AES:32',
      '--id',
      'ab',
      '--label',
      'planted',
      '--sensitive',
      '--extractable',
    );
    const { sealed } = await capture(a, { domainKeyVersion: 2 });
    const entry = sealed!.generation.entries.find(
      ({ attributes }) => attributes.id !== undefined && hex(attributes.id) === 'ab',
    );
    expect(entry).toBeDefined();
    const everything = Buffer.concat([sealed!.signed, ...blobs.values()]);
    expect(everything.includes(planted)).toBe(false);
    expect(bytesEqual(blobs.get(entry!.blobSha256!)!, planted)).toBe(false);
  });
});
