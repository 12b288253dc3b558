/** Keys that no token wraps, from one SoftHSM token into another: judged by pkcs11-tool and OpenSSL at the standby. */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { CKA, CKM, CKO, type Cryptoki, mechanism, type Template } from '@antipode/cryptoki';
import type { Handle, PlacedObject, TakenObject } from '@antipode/hsm-core';
import { findTokenFolder, ObjectStore, openTokenKey } from '@antipode/hsm-core/testing';
import { systemClock } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openRawToken } from '../../attacks/support/raw-token.ts';
import { type OpenToken, PINS, pinOf, SoftHsmPair } from '../../support/softhsm-pair.ts';
import type { TestToken } from '../../support/tokens.ts';

let pair: SoftHsmPair;

beforeAll(async () => {
  pair = new SoftHsmPair();
  const { tool } = pair.source.token;
  tool('--keypairgen', '--key-type', 'EC:prime256v1', '--id', '01', '--label', 'ec');
  tool('--keygen', '--key-type', 'AES:32', '--sensitive', '--id', '02', '--label', 'aes');
  tool('--keygen', '--key-type', 'GENERIC:20', '--id', '03', '--label', 'odd');
  await pair.open(async ({ source, standby }) =>
    expect(await source.cloner.domain()).not.toEqual(await standby.cloner.domain()),
  );
});

afterAll(() => pair?.remove());

const objectClassOf: Readonly<Record<number, PlacedObject['objectClass']>> = {
  [CKO.DATA]: 'data',
  [CKO.SECRET_KEY]: 'secret-key',
  [CKO.PRIVATE_KEY]: 'private-key',
  [CKO.PUBLIC_KEY]: 'public-key',
};

/** The provider compares the rest of a manifest. */
function itemOf(cryptoki: Cryptoki, { session }: OpenToken, taken: TakenObject): PlacedObject {
  if ('reason' in taken) throw new Error(`not taken: ${taken.reason}`);
  const objectClass = objectClassOf[ulongOf(cryptoki, session, taken.handle, CKA.CLASS)]!;
  return { entry: randomBytes(16), objectClass, sizeBits: 0, attributes: {}, blob: taken.blob };
}

const ulongOf = (cryptoki: Cryptoki, session: bigint, handle: Handle, type: number): number =>
  Number(cryptoki.attributes(session, handle, [type])!.get(type)!.readBigUInt64LE());

/** Only root can mount a small disk. */
const isRoot = process.geteuid?.() === 0;

/** Holds the record locks of these files until its input ends. */
const HOLDER = `
  import { openSync } from 'node:fs';
  import { tryLockFile } from '@antipode/cryptoki';
  const held = process.argv.slice(1).map((path) => tryLockFile(openSync(path, 'r+'), 'exclusive'));
  console.log(held.every(Boolean));
  process.stdin.on('end', () => process.exit(0)).resume();
`;

/** Reads the store as a user who owns all of it but one file. */
const READER = `
  import { chmodSync, readdirSync, statSync } from 'node:fs';
  import { join } from 'node:path';
  import { findTokenFolder, ObjectStore } from '@antipode/hsm-core/testing';
  import { systemClock } from '@antipode/runtime';
  const [path, serial] = process.argv.slice(1);
  const folder = findTokenFolder({ serial });
  const one = join(path, process.env.UNREADABLE);
  const { mode } = statSync(one);
  for (const above of [path, join(path, '..'), join(path, '../..')]) chmodSync(above, 0o755);
  for (const name of readdirSync(path)) chmodSync(join(path, name), 0o644);
  chmodSync(one, 0);
  process.seteuid(65534);
  const found = { read: 0, unread: [] };
  try {
    const store = new ObjectStore({ folder, clock: systemClock });
    for (const name of store.names())
      if ((await store.read(name)) !== undefined) found.read += 1;
      else found.unread.push(name);
  } finally {
    process.seteuid(0);
    for (const name of readdirSync(path)) chmodSync(join(path, name), mode);
    for (const above of [path, join(path, '..'), join(path, '../..')]) chmodSync(above, 0o700);
  }
  console.log(JSON.stringify(found));
`;

/** By another process, while this one takes the object that it changes. */
const CHANGES = 300;

const everything: Template = [[CKA.TOKEN, true]];

async function cloneAll(cryptoki: Cryptoki, source: OpenToken, standby: OpenToken): Promise<readonly Handle[]> {
  const taken = await source.cloner.take(cryptoki.find(source.session, everything));
  const { handles, failure } = await standby.cloner.place(taken.map((one) => itemOf(cryptoki, source, one)));
  expect(failure).toBeUndefined();
  return handles;
}

/** Without `--label`: the tool names the file after the first that it finds. */
function signatureOf({ folder, tool }: TestToken, id: string): { message: string; signature: string } {
  const [message, signature] = ['message', 'signature'].map((name) => join(folder, name)) as [string, string];
  writeFileSync(message, randomBytes(32));
  tool('--sign', '-m', 'ECDSA', '--signature-format', 'openssl', '--id', id, '-i', message, '-o', signature);
  return { message, signature };
}

describe('the cloner of SoftHSM', () => {
  it('refuses what comes from another cloning domain, before it changes anything', async () => {
    await pair.open(async ({ cryptoki, source, standby }) => {
      const before = readdirSync(standby.path);
      const [taken] = await source.cloner.take(cryptoki.find(source.session, everything));
      const outcome = await standby.cloner.place([itemOf(cryptoki, source, taken!)]);
      expect(outcome).toEqual({ handles: [], failure: { index: 0, code: 'CLONING_DOMAIN_OTHER' } });
      expect(readdirSync(standby.path)).toEqual(before);
    });
  });

  it('works between two tokens once one has got the token key of the other', async () => {
    pair.standby.token.tool('--keygen', '--key-type', 'AES:32', '--id', '77', '--label', 'was here before');
    await pair.share();
    await pair.open(async ({ source, standby }) =>
      expect(await source.cloner.domain()).toEqual(await standby.cloner.domain()),
    );
    // Under its own PIN, serial number and label, with what was in it.
    expect(pair.standby.token.tool('--list-objects')).toContain('was here before');
  });

  it('brings unextractable keys along, which sign and encrypt at the standby as at the source', async () => {
    await pair.open(({ cryptoki, source, standby }) => cloneAll(cryptoki, source, standby));
    const [source, standby] = [pair.source.token, pair.standby.token];
    source.tool('--read-object', '--type', 'pubkey', '--id', '01', '-o', join(pair.folder, 'pub.der'));
    const pem = execFileSync('openssl', ['ec', '-pubin', '-inform', 'DER', '-in', join(pair.folder, 'pub.der')], {
      stdio: 'pipe',
    });
    writeFileSync(join(pair.folder, 'pub.pem'), pem);
    const { message, signature } = signatureOf(standby, '01');
    const verify = ['pkeyutl', '-verify', '-pubin', '-inkey', join(pair.folder, 'pub.pem'), '-in', message];
    expect(execFileSync('openssl', [...verify, '-sigfile', signature], { stdio: 'pipe' }).toString()).toContain(
      'Verified Successfully',
    );
    const encrypted = [source, standby].map((token) => {
      const out = join(pair.folder, 'encrypted');
      token.tool('--encrypt', '-m', 'AES-ECB', '--id', '02', '-i', message, '-o', out);
      return execFileSync('xxd', ['-p', out]).toString();
    });
    expect(encrypted[1]).toBe(encrypted[0]);
    // Wrapping loses the history of a key: this does not.
    const [ec, aes] = ['privkey', 'secrkey'].map((kind) => standby.tool('--list-objects', '--type', kind));
    expect(ec).toMatch(/label:\s+ec\n.*Access:\s+sensitive, always sensitive, never extractable, local/s);
    expect(aes).toMatch(/label:\s+aes\n.*Access:\s+sensitive, always sensitive, never extractable, local/s);
  });

  it('makes nothing twice, and finds what an earlier call has made', async () => {
    await pair.open(async ({ cryptoki, source, standby }) => {
      const handles = cryptoki.find(source.session, [[CKA.ID, Buffer.of(3)]]);
      for (const handle of cryptoki.find(standby.session, [[CKA.ID, Buffer.of(3)]]))
        cryptoki.destroy(standby.session, handle);
      const [taken] = await source.cloner.take(handles);
      const item = itemOf(cryptoki, source, taken!);
      const first = await standby.cloner.place([item]);
      const count = cryptoki.find(standby.session, everything).length;
      expect((await standby.cloner.place([item])).handles).toEqual(first.handles);
      expect(cryptoki.find(standby.session, everything)).toHaveLength(count);
      // Somebody has named it otherwise meanwhile, or it is damaged: a sound one is made beside it.
      cryptoki.setAttributes(standby.session, first.handles[0]!, [[CKA.LABEL, Buffer.from('renamed')]]);
      const second = await standby.cloner.place([item]);
      expect([second.handles.length, second.handles[0] === first.handles[0]]).toEqual([1, false]);
      for (const handle of [...first.handles, ...second.handles]) cryptoki.destroy(standby.session, handle);
      const again = await standby.cloner.place([item]);
      expect([again.handles.length, again.failure]).toEqual([1, undefined]);
      cryptoki.destroy(standby.session, again.handles[0]!);
    });
  });

  it('tells objects apart that have one label, one id and one kind', async () => {
    await pair.open(async ({ cryptoki, source, standby }) => {
      const make = (): bigint =>
        cryptoki.generateKey(source.session, mechanism(CKM.AES_KEY_GEN), [
          ...everything,
          [CKA.PRIVATE, true],
          [CKA.SENSITIVE, true],
          [CKA.EXTRACTABLE, false],
          [CKA.ENCRYPT, true],
          [CKA.VALUE_LEN, 32],
          [CKA.LABEL, Buffer.from('twin')],
          [CKA.ID, Buffer.from('twin')],
        ]);
      const makePair = () =>
        cryptoki.generateKeyPair(
          source.session,
          mechanism(CKM.EC_KEY_PAIR_GEN),
          [
            [CKA.TOKEN, false],
            [CKA.EC_PARAMS, Buffer.from('06082a8648ce3d030107', 'hex')],
          ],
          [...everything, [CKA.PRIVATE, true], [CKA.SENSITIVE, true], [CKA.EXTRACTABLE, false], [CKA.SIGN, true]],
        );
      const twins = [make(), make(), make()];
      // Of an EC key PKCS#11 shows nothing that differs.
      const pairs = [makePair(), makePair(), makePair()];
      const made = [...twins, ...pairs.map(({ privateKey }) => privateKey)];
      const taken = await source.cloner.take([...made].reverse());
      const { handles } = await standby.cloner.place(taken.map((one) => itemOf(cryptoki, source, one)));
      const there = [...handles].reverse();
      const plain = randomBytes(16);
      const encrypt = (session: bigint, key: bigint): string =>
        cryptoki.encrypt(session, mechanism(CKM.AES_ECB), key, plain).toString('hex');
      expect(twins.map((_, index) => encrypt(standby.session, there[index]!))).toEqual(
        twins.map((key) => encrypt(source.session, key)),
      );
      const digest = randomBytes(32);
      for (const [index, { publicKey }] of pairs.entries()) {
        const signature = cryptoki.sign(standby.session, mechanism(CKM.ECDSA), there[twins.length + index]!, digest);
        // Throws where it does not verify.
        cryptoki.verify(source.session, mechanism(CKM.ECDSA), publicKey, digest, signature);
      }
      for (const key of made) cryptoki.destroy(source.session, key);
      for (const key of there) cryptoki.destroy(standby.session, key);
    });
  });

  it('takes an object as it is now, whatever it has read of it before', async () => {
    await pair.open(async ({ cryptoki, source, standby }) => {
      const make = (label: string): bigint =>
        cryptoki.generateKey(source.session, mechanism(CKM.AES_KEY_GEN), [
          ...everything,
          ...([CKA.PRIVATE, CKA.SENSITIVE, CKA.ENCRYPT] as const).map((type) => [type, true] as const),
          [CKA.VALUE_LEN, 32],
          [CKA.LABEL, Buffer.from(label)],
        ]);
      const name = (handle: bigint, label: string): void =>
        cryptoki.setAttributes(source.session, handle, [[CKA.LABEL, Buffer.from(label)]]);
      const keys = [make('now'), make('then')] as const;
      const plain = randomBytes(16);
      const encrypt = (session: bigint, key: bigint): string =>
        cryptoki.encrypt(session, mechanism(CKM.AES_ECB), key, plain).toString('hex');
      const labels = ['now', 'then'];
      for (let turn = 0; turn < 3; turn += 1) {
        // One by one: a take reads what it has known by another name only where that name is asked for.
        const taken = [...(await source.cloner.take([keys[0]])), ...(await source.cloner.take([keys[1]]))];
        const { handles } = await standby.cloner.place(taken.map((one) => itemOf(cryptoki, source, one)));
        const label = (handle: bigint): string =>
          cryptoki.attributes(standby.session, handle, [CKA.LABEL])!.get(CKA.LABEL)!.toString();
        expect([turn, handles.map(label)]).toEqual([turn, labels]);
        const used = handles.map((handle) => encrypt(standby.session, handle));
        expect([turn, used]).toEqual([turn, keys.map((key) => encrypt(source.session, key))]);
        await standby.cloner.discard(handles);
        // The two change their names, as keys do that an application rotates.
        for (const [index, key] of keys.entries()) name(key, `between ${index}`);
        labels.reverse();
        for (const [index, key] of keys.entries()) name(key, labels[index]!);
      }
      for (const key of keys) cryptoki.destroy(source.session, key);
    });
  });

  it('takes back what it has made last, and nothing else', async () => {
    await pair.open(async ({ cryptoki, source, standby }) => {
      const [handle] = cryptoki.find(source.session, [[CKA.ID, Buffer.of(3)]]);
      const [taken] = await source.cloner.take([handle!]);
      const before = readdirSync(standby.path).sort();
      const others = cryptoki.find(standby.session, everything);
      const { handles } = await standby.cloner.place([itemOf(cryptoki, source, taken!)]);
      await standby.cloner.discard([...handles, ...others]);
      expect(readdirSync(standby.path).sort()).toEqual(before);
      expect(cryptoki.find(standby.session, everything)).toEqual(others);
    });
  });

  it('refuses blobs that are damaged or make something else than their item says, and makes those before', async () => {
    await pair.open(async ({ cryptoki, source, standby }) => {
      const before = readdirSync(standby.path).length;
      const [aes] = cryptoki.find(source.session, [[CKA.ID, Buffer.of(2)]]);
      const [taken] = await source.cloner.take([aes!]);
      const item = itemOf(cryptoki, source, taken!);
      const cut = (bytes: number): PlacedObject => ({ ...item, blob: item.blob.subarray(0, bytes) });
      for (const [what, wrong, code] of [
        ['nothing', cut(0), 'BLOB_INVALID'],
        ['its head', cut(59), 'BLOB_INVALID'],
        ['half', cut(300), 'BLOB_INVALID'],
        ['all but one byte', cut(item.blob.length - 1), 'BLOB_INVALID'],
        ['more', { ...item, blob: new Uint8Array([...item.blob, 0]) }, 'BLOB_INVALID'],
        ['another class', { ...item, objectClass: 'data' }, 'NATIVE_MISMATCH'],
        ['another type', { ...item, keyType: 'generic-secret' }, 'NATIVE_MISMATCH'],
        ['another label', { ...item, attributes: { label: Buffer.from('else') } }, 'NATIVE_MISMATCH'],
        ['a way out', { ...item, attributes: { extractable: true } }, 'NATIVE_MISMATCH'],
        ['another history', { ...item, attributes: { local: false } }, 'NATIVE_MISMATCH'],
      ] as const satisfies readonly (readonly [string, PlacedObject, string])[])
        expect([what, await standby.cloner.place([wrong])]).toEqual([
          what,
          { handles: [], failure: { index: 0, code } },
        ]);
      expect(readdirSync(standby.path)).toHaveLength(before);
      const second = { ...item, attributes: { extractable: true } };
      const { handles, failure } = await standby.cloner.place([item, second, item]);
      expect([handles.length, failure]).toEqual([1, { index: 1, code: 'NATIVE_MISMATCH' }]);
      cryptoki.destroy(standby.session, handles[0]!);
      expect(readdirSync(standby.path)).toHaveLength(before);
    });
  });

  it('gives an outcome for each object that is gone, and the others beside it', async () => {
    await pair.open(async ({ cryptoki, source }) => {
      const [there] = cryptoki.find(source.session, [[CKA.ID, Buffer.of(2)]]);
      expect(await source.cloner.take([987_654n, there!])).toMatchObject([
        { handle: 987_654n, reason: 'unreadable' },
        { handle: there, blob: expect.any(Uint8Array) },
      ]);
    });
  });

  it('shows what it has made to a process that has the token open, which can destroy it', async () => {
    const application = await openRawToken(pair.standby.token, PINS.standby);
    try {
      expect(await application.find([[CKA.LABEL, Buffer.from('late')]])).toEqual([]);
      pair.source.token.tool('--keygen', '--key-type', 'AES:16', '--id', '04', '--label', 'late');
      await pair.open(async ({ cryptoki, source, standby }) => {
        const taken = await source.cloner.take(cryptoki.find(source.session, [[CKA.ID, Buffer.of(4)]]));
        await standby.cloner.place([itemOf(cryptoki, source, taken[0]!)]);
      });
      const [late] = await application.find([[CKA.LABEL, Buffer.from('late')]]);
      expect(await application.encrypt({ type: CKM.AES_ECB }, late!, randomBytes(16))).toHaveLength(16);
      await application.destroy(late!);
      expect(await application.find([[CKA.LABEL, Buffer.from('late')]])).toEqual([]);
    } finally {
      await application.close();
    }
  });

  it('takes each object as it was at one moment, while another process changes it', async () => {
    const application = await openRawToken(pair.source.token, PINS.source);
    try {
      const [theirs] = await application.find([[CKA.ID, Buffer.of(2)]]);
      const labels = ['a'.repeat(3_000), 'b'.repeat(5_000)];
      await pair.open(async ({ cryptoki, source, standby }) => {
        const [handle] = cryptoki.find(source.session, [[CKA.ID, Buffer.of(2)]]);
        // All under way at once, so that the other process never waits for this one.
        const changes = Array.from({ length: CHANGES }, (_, turn) =>
          application.setAttributeValue(theirs!, [[CKA.LABEL, Buffer.from(labels[turn % 2]!)]]),
        );
        let isOver = false;
        const over = Promise.all(changes).then(() => {
          isOver = true;
        });
        const seen = new Set<string>();
        while (!isOver) {
          await systemClock.sleep(0);
          const [taken] = await source.cloner.take([handle!]);
          if ('reason' in taken!) {
            // SoftHSM shows no object at all while another process writes it.
            expect(['settling', 'unreadable']).toContain(taken.reason);
            continue;
          }
          const { handles } = await standby.cloner.place([itemOf(cryptoki, source, taken!)]);
          seen.add(cryptoki.attributes(standby.session, handles[0]!, [CKA.LABEL])!.get(CKA.LABEL)!.toString());
          cryptoki.destroy(standby.session, handles[0]!);
        }
        await over;
        expect([...labels, 'aes']).toEqual(expect.arrayContaining([...seen]));
        expect(seen.size).toBeGreaterThan(0);
        await application.setAttributeValue(theirs!, [[CKA.LABEL, Buffer.from('aes')]]);
      });
    } finally {
      await application.close();
    }
  });

  it('waits for the lock of a file that another process has, and for that object alone', async () => {
    await pair.open(async ({ cryptoki, source }) => {
      const wanted = cryptoki.find(source.session, [[CKA.ID, Buffer.of(2)]]);
      const [before] = await source.cloner.take(wanted);
      const files = readdirSync(source.path).filter((name) => name.endsWith('.object') && name !== 'token.object');
      const held = files.map((name) => join(source.path, name));
      const holder = spawn(process.execPath, ['--input-type=module', '--eval', HOLDER, ...held], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      await once(holder.stdout, 'data');
      const ended = once(holder, 'exit');
      try {
        // SoftHSM itself would wait for the lock for ever, so that only files are looked at here.
        const { path, fileMode, uid, gid } = findTokenFolder({
          serial: source.serial,
          environment: source.token.environment,
        });
        const clock = { ...systemClock, sleep: async () => {} };
        const store = new ObjectStore({ folder: { path, fileMode, uid, gid }, clock });
        for (const name of store.names()) expect(await store.read(name)).toBeUndefined();
      } finally {
        holder.stdin.end();
        await ended;
      }
      expect(await source.cloner.take(wanted)).toEqual([before]);
    });
  });

  it('takes only regular files for objects, as SoftHSM does, and none of the others holds up a take', async () => {
    const path = (name: string): string => join(pair.source.path, name);
    symlinkSync('loop.object', path('loop.object'));
    symlinkSync('nowhere', path('dangling.object'));
    mkdirSync(path('folder.object'));
    execFileSync('mkfifo', [path('pipe.object')]);
    writeFileSync(path('empty.object'), '');
    writeFileSync(path('noise.object'), 'no object');
    const odd = ['loop', 'dangling', 'folder', 'pipe', 'empty', 'noise'].map((name) => path(`${name}.object`));
    try {
      await pair.open(async ({ cryptoki, source, standby }) => {
        const handles = cryptoki.find(source.session, [[CKA.ID, Buffer.of(2)]]);
        // Once with nothing remembered of any file, and once more.
        for (let turn = 0; turn < 2; turn += 1) {
          const [taken] = await source.cloner.take(handles);
          const { handles: made } = await standby.cloner.place([itemOf(cryptoki, source, taken!)]);
          expect(made).toHaveLength(1);
          cryptoki.destroy(standby.session, made[0]!);
        }
      });
    } finally {
      for (const one of odd) rmSync(one, { recursive: true });
    }
  });

  it('leaves out a file that this user must not read, and takes the others', async ({ skip }) => {
    skip(!isRoot, 'only root has a file of somebody else');
    const { path, serial, token } = pair.source;
    const [first, ...others] = readdirSync(path).filter((name) => name.endsWith('.object') && name !== 'token.object');
    const read = execFileSync(process.execPath, ['--input-type=module', '--eval', READER, path, serial], {
      env: { ...process.env, ...token.environment, UNREADABLE: first },
      stdio: 'pipe',
    });
    expect(JSON.parse(read.toString())).toEqual({ read: others.length, unread: [first!.replace('.object', '')] });
  });

  it('finds its token beside tokens that are damaged, or of somebody else', async () => {
    const { serial, path, token } = pair.source;
    const damaged = join(path, '..', 'damaged');
    mkdirSync(damaged);
    writeFileSync(join(damaged, 'token.object'), '');
    try {
      const { environment } = token;
      expect(findTokenFolder({ serial, environment }).path).toBe(path);
      const error = thrown(() => findTokenFolder({ serial: 'another', environment }));
      expect(error).toMatchObject({ code: 'TOKEN_STORE_UNUSABLE', message: expect.stringContaining('damaged') });
    } finally {
      rmSync(damaged, { recursive: true });
    }
  });

  it('counts the changes of the store from the start where somebody has removed the count', async () => {
    rmSync(join(pair.standby.path, 'generation'));
    await pair.open(async ({ cryptoki, source, standby }) => {
      rmSync(join(pair.standby.path, 'generation'), { force: true });
      const taken = await source.cloner.take(cryptoki.find(source.session, [[CKA.ID, Buffer.of(3)]]));
      const { handles } = await standby.cloner.place(taken.map((one) => itemOf(cryptoki, source, one)));
      expect(handles).toHaveLength(1);
      cryptoki.destroy(standby.session, handles[0]!);
    });
  });

  it('makes nothing, and sweeps nothing away, while another agent makes objects in the same token', async () => {
    // The lock file of an object that the other agent is just linking.
    const [theirs, making] = ['antipode-1.lock', 'antipode-making'].map((name) => join(pair.standby.path, name));
    writeFileSync(theirs!, '');
    writeFileSync(making!, '');
    const holder = spawn(process.execPath, ['--input-type=module', '--eval', HOLDER, making!], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(holder.stdout, 'data');
    const ended = once(holder, 'exit');
    await pair.open(async ({ cryptoki, source, standby }) => {
      const [taken] = await source.cloner.take(cryptoki.find(source.session, [[CKA.ID, Buffer.of(3)]]));
      const before = readdirSync(standby.path);
      const placing = standby.cloner.place([itemOf(cryptoki, source, taken!)]);
      // A call that did not wait would be over by then.
      await once(spawn('true'), 'exit');
      expect(readdirSync(standby.path)).toEqual(before);
      const { path, fileMode, uid, gid } = findTokenFolder({
        serial: standby.serial,
        environment: standby.token.environment,
      });
      const clock = { ...systemClock, sleep: async () => {} };
      const store = new ObjectStore({ folder: { path, fileMode, uid, gid }, clock });
      expect(await rejection(store.alone(() => undefined))).toMatchObject({ code: 'HSM_UNAVAILABLE' });
      holder.stdin.end();
      await ended;
      const { handles } = await placing;
      expect([handles.length, existsSync(theirs!)]).toEqual([1, false]);
      cryptoki.destroy(standby.session, handles[0]!);
    });
  });

  it('takes away what a killed call has left, and nothing else', async () => {
    const path = (name: string): string => join(pair.standby.path, name);
    const left = ['antipode-1.lock', 'antipode-2.staged'];
    const others = ['4de7e363.lock', 'x.staged', 'notes'];
    for (const name of [...left, ...others]) writeFileSync(path(name), '');
    await pair.open(async ({ cryptoki, source, standby }) => {
      const taken = await source.cloner.take(cryptoki.find(source.session, [[CKA.ID, Buffer.of(3)]]));
      const { handles } = await standby.cloner.place(taken.map((one) => itemOf(cryptoki, source, one)));
      cryptoki.destroy(standby.session, handles[0]!);
    });
    expect(left.filter((name) => existsSync(path(name)))).toEqual([]);
    expect(others.filter((name) => existsSync(path(name)))).toEqual(others);
    for (const name of others) rmSync(path(name));
  });

  it('makes files of the mode and the owner that the files of the token have', async () => {
    const owner = isRoot ? 12_345 : process.geteuid!();
    const files = readdirSync(pair.standby.path).map((name) => join(pair.standby.path, name));
    for (const file of files) chownSync(file, owner, process.getgid!());
    await pair.open(async ({ cryptoki, source, standby }) => {
      const taken = await source.cloner.take(cryptoki.find(source.session, [[CKA.ID, Buffer.of(3)]]));
      const before = new Set(readdirSync(standby.path));
      const { handles } = await standby.cloner.place(taken.map((one) => itemOf(cryptoki, source, one)));
      const made = readdirSync(standby.path).filter((name) => !before.has(name));
      expect(made.map((name) => name.replace(/.*\./, '')).sort()).toEqual(['lock', 'object']);
      for (const name of made) {
        const { mode, uid } = statSync(join(standby.path, name));
        expect([mode & 0o7777, uid]).toEqual([0o600, owner]);
      }
      cryptoki.destroy(standby.session, handles[0]!);
    });
    for (const file of files) chownSync(file, process.geteuid!(), process.getgid!());
  });

  it('says that the disk is full, beside what it has made until then, and that it is read-only', async ({ skip }) => {
    skip(!isRoot, 'only root mounts a disk that is full');
    const path = pair.standby.path;
    const copy = join(pair.folder, 'copy');
    cpSync(path, copy, { recursive: true });
    const pages = readdirSync(path).length + 8;
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${4 * pages}k,mode=700`, 'tmpfs', path]);
    try {
      cpSync(copy, path, { recursive: true });
      await pair.open(async ({ cryptoki, source, standby }) => {
        const [taken] = await source.cloner.take(cryptoki.find(source.session, [[CKA.ID, Buffer.of(3)]]));
        const items = Array.from({ length: 40 }, () => itemOf(cryptoki, source, taken!));
        const { handles, failure } = await standby.cloner.place(items);
        expect(failure).toEqual({ index: handles.length, code: 'HSM_FULL', returnValue: 'ENOSPC' });
        expect(handles.length).toBeGreaterThan(0);
        const made = readdirSync(path).filter((name) => /^antipode-.*\./.test(name));
        const count = cryptoki.find(standby.session, [[CKA.ID, Buffer.of(3)]]).length;
        expect([...new Set(made.map((name) => name.replace(/.*\./, '')))].sort()).toEqual(['lock', 'object']);
        expect(count).toBe(handles.length);
        for (const handle of handles) cryptoki.destroy(standby.session, handle);
        execFileSync('mount', ['-o', 'remount,ro', path]);
        const error = await rejection(standby.cloner.place(items.slice(0, 1)));
        expect(error).toMatchObject({ code: 'TOKEN_STORE_UNUSABLE' });
        execFileSync('mount', ['-o', 'remount,rw', path]);
      });
    } finally {
      execFileSync('umount', [path]);
    }
  });

  it('refuses another PIN without a login', () => {
    writeFileSync(pair.standby.token.config.pinFile, 'wrong\n', { mode: 0o600 });
    try {
      // The token itself is not asked: no attempt is counted.
      const { serial, token } = pair.standby;
      const { path } = findTokenFolder({ serial, environment: token.environment });
      const error = thrown(() => openTokenKey(path, pinOf(token)));
      expect(error).toMatchObject({ code: 'TOKEN_STORE_UNUSABLE' });
      expect(`${error}`).not.toContain('wrong');
    } finally {
      writeFileSync(pair.standby.token.config.pinFile, `${PINS.standby}\n`, { mode: 0o600 });
    }
  });
});
