/**
 * Gives a token the token key of another one, so that each opens the objects of the other (ADR 0056). Serial number,
 * label and both PINs stay. All objects stay too, encrypted again.
 *
 * A new folder is made beside the token's and exchanged with it at one moment. A kill at any moment leaves the token as
 * it was or as it is to be, and a folder that the next call removes. No other process may use the token meanwhile: one
 * that is logged in keeps the old key in its memory. Changes by such a process before the exchange are noticed, and the
 * token is left as it was.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { exchangePaths } from '@antipode/cryptoki';
import { AntipodeError, type Clock, type Secret, syncFolder } from '@antipode/runtime';
import { withLocked } from '../pkcs11/own-keys/swap.ts';
import { copyStamps } from './capture-stamps.ts';
import {
  parseObjectFile,
  type StoredAttributes,
  type StoredObject,
  type StoredValue,
  serialiseObject,
} from './object-file.ts';
import { isPrivateObject } from './object-match.ts';
import { ObjectStore } from './object-store.ts';
import { openTokenKey } from './softhsm-cloner.ts';
import {
  attempt,
  LOCK_SUFFIX,
  OBJECT_SUFFIX,
  readTokenObject,
  TOKEN_ATTRIBUTE,
  TOKEN_FILE,
  type TokenFolder,
  tokenBytes,
  unusable,
} from './token-folder.ts';
import { isEncrypted, TokenKey } from './token-key.ts';

/** SoftHSM takes each folder here for a token, and leaves one alone that has no `token.object`. */
const STAGING = '.antipode-rekey';

export interface Rekeying {
  readonly folder: TokenFolder;
  readonly clock: Clock;
  readonly newKey: TokenKey;
  readonly readPin: () => Secret;
  readonly readOfficerPin: () => Secret;
}

/** @throws TOKEN_STORE_UNUSABLE, HSM_UNAVAILABLE; the token is as it was then */
export async function rekeyToken(rekeying: Rekeying): Promise<void> {
  const { folder, clock, newKey, readPin } = rekeying;
  const staging = join(dirname(folder.path), STAGING, basename(folder.path));
  remove(staging);
  const oldKey = openTokenKey(folder.path, readPin);
  try {
    checkOfficer(rekeying, oldKey);
    if (isSame(oldKey, newKey)) return;
    const store = new ObjectStore({ folder, clock });
    const before = await readObjects(store);
    const token = rewrapped(rekeying);
    const objects = [...before].map(([name, stored]) => [name, reencrypted(name, stored, { oldKey, newKey })] as const);
    makeLike(folder.path, staging);
    const staged = new ObjectStore({ folder: { ...folder, path: staging }, clock });
    for (const [name, stored] of objects) staged.copyIn(name, serialiseObject(stored));
    staged.copyIn('token', serialiseObject(token));
    copyStamps(store, staged);
    await staged.announce({ after: store.generation() });
    staged.sync();
    attempt('cannot exchange the folder of the token', () => exchangePaths(staging, folder.path));
    syncFolder(dirname(folder.path));
    if (!isSameSet(before, await readObjects(staged))) {
      exchangePaths(staging, folder.path);
      throw new AntipodeError('HSM_UNAVAILABLE', 'another process has changed the token meanwhile; it is as it was');
    }
  } finally {
    oldKey.wipe();
    remove(staging);
  }
}

/** The officer's PIN opens the same key: otherwise he would set a PIN for the old one later. */
function checkOfficer({ folder, readOfficerPin }: Rekeying, oldKey: TokenKey): void {
  const wrapped = tokenBytes(readTokenObject(folder.path), TOKEN_ATTRIBUTE.officerKey);
  const key = wrapped && withLocked(readOfficerPin(), (pin) => TokenKey.open(wrapped, pin));
  const isRight = key !== undefined && isSame(key, oldKey);
  key?.wipe();
  if (!isRight)
    unusable("the security officer's PIN does not open the token key", {
      hint: 'Give the PIN that `softhsm2-util --init-token` was called with as `--so-pin`. SoftHSM counts no attempt for this.',
    });
}

const isSame = (one: TokenKey, other: TokenKey): boolean => one.expose((a) => other.expose((b) => a.equals(b)));

async function readObjects(store: ObjectStore): Promise<Map<string, Buffer>> {
  const objects = new Map<string, Buffer>();
  for (const name of store.names()) {
    const file = await store.read(name);
    if (file === undefined)
      throw new AntipodeError(
        'HSM_UNAVAILABLE',
        `cannot read ${name}${OBJECT_SUFFIX}: another process holds its lock, or this user must not read it`,
      );
    // SoftHSM lists no object without a byte: a kill has left it.
    if (file.length > 0) objects.set(name, file);
  }
  return objects;
}

const isSameSet = (one: ReadonlyMap<string, Buffer>, other: ReadonlyMap<string, Buffer>): boolean =>
  one.size === other.size && [...one].every(([name, file]) => other.get(name)?.equals(file) === true);

/** `token.object` for the new key, under the PINs that the token has. */
function rewrapped({ folder, newKey, readPin, readOfficerPin }: Rekeying): StoredObject {
  const stored = parseObjectFile(readFileSync(join(folder.path, TOKEN_FILE)))!;
  const wrapFor = (read: () => Secret): StoredValue => ({
    kind: 'bytes',
    value: withLocked(read(), (pin) => newKey.wrapFor(pin)),
  });
  const attributes = new Map(stored.attributes)
    .set(TOKEN_ATTRIBUTE.officerKey, wrapFor(readOfficerPin))
    .set(TOKEN_ATTRIBUTE.userKey, wrapFor(readPin));
  return { generation: stored.generation + 1n, attributes };
}

function reencrypted(
  name: string,
  file: Buffer,
  { oldKey, newKey }: { oldKey: TokenKey; newKey: TokenKey },
): StoredObject {
  const stored = parseObjectFile(file);
  const attributes = stored && (isPrivateObject(stored.attributes) ? changed(stored.attributes) : stored.attributes);
  return attributes === undefined
    ? unusable(`${name}${OBJECT_SUFFIX} is damaged, or its token key is another one`, {
        hint: 'Look at the object with pkcs11-tool. Remove it if nobody needs it, and try again. Nothing was changed.',
      })
    : { generation: stored!.generation + 1n, attributes };

  function changed(before: StoredAttributes): StoredAttributes | undefined {
    const after = new Map<number, StoredValue>();
    for (const [type, value] of before) {
      if (value.kind !== 'bytes' || !isEncrypted(value.value)) {
        after.set(type, value);
        continue;
      }
      const plain = oldKey.decrypt(value.value);
      if (plain === undefined) return undefined;
      after.set(type, { kind: 'bytes', value: newKey.encrypt(plain) });
      plain.fill(0);
    }
    return after;
  }
}

/** With the mode and the owner of the other folder. */
function makeLike(folder: string, made: string): void {
  attempt(`cannot make ${made}`, () => {
    mkdirSync(made, { recursive: true, mode: 0o700 });
    const { uid, gid, mode } = statSync(folder);
    const own = statSync(made);
    if (own.uid !== uid || own.gid !== gid) chownSync(made, uid, gid);
    chmodSync(made, mode & 0o7777);
  });
}

function remove(staging: string): void {
  rmSync(staging, { recursive: true, force: true });
  const above = dirname(staging);
  // SoftHSM makes a `generation` in every folder that it looks into.
  if (existsSync(above) && readdirSync(above).every((name) => name === 'generation' || name.endsWith(LOCK_SUFFIX)))
    rmSync(above, { recursive: true, force: true });
}
