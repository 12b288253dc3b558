/**
 * Objects of a SoftHSM token out of its store and into that of another token of the same token key (ADR 0056). SoftHSM's
 * own way to back up is to copy the store. This does it by the object, beside processes that write, and proves nothing:
 * the caller uses each key after it has arrived.
 *
 * Nothing secret leaves it in the clear: the value of a private object stays as SoftHSM has encrypted it. The value of a
 * public object is in the clear in the store as well, so the caller encrypts every blob.
 */
import type { Clock, Secret } from '@antipode/runtime';
import type { Handle } from '../model/object.ts';
import { withLocked } from '../pkcs11/own-keys/swap.ts';
import { ObjectReader } from '../pkcs11/reading/object-reader.ts';
import type { TokenSession } from '../pkcs11/token-session.ts';
import type { NativeCloner, PlacedObject, PlaceOutcome, TakenObject } from '../provider/native-cloner.ts';
import { CaptureStamps } from './capture-stamps.ts';
import { FilePrints } from './file-prints.ts';
import { ObjectMatch } from './object-match.ts';
import { ObjectStore } from './object-store.ts';
import { discardObjects, placeObjects } from './placing.ts';
import { storedUnseen } from './stored.ts';
import { takeObjects } from './taking.ts';
import { findTokenFolder, readTokenObject, TOKEN_ATTRIBUTE, tokenBytes, unusable } from './token-folder.ts';
import { TokenKey } from './token-key.ts';

export interface SoftHsmToken extends TokenSession {
  readonly serial: string;
  readonly clock: Clock;
  /** Read again for each call, and wiped. Reading it does not count as a login. */
  readonly readPin: () => Secret;
  /** Keeps what this agent knows of the store. Not in the folder of the token. */
  readonly stateFolder: string;
}

/** The store of one token, as {@link takeObjects} and {@link placeObjects} work on it. */
export interface OpenStore extends TokenSession {
  readonly store: ObjectStore;
  readonly match: ObjectMatch;
  readonly objects: ObjectReader;
  readonly key: TokenKey;
  /** The token's objects at the last search. SoftHSM gives a new object a new handle, and a search costs a look at each. */
  readonly known: Set<Handle>;
  /** Of the files that earlier takes have read. */
  readonly prints: FilePrints;
  /** The files of the objects that the last {@link placeObjects} has returned. */
  readonly made: Map<Handle, string>;
}

/** `session` is read-write, and the user is logged in. @throws TOKEN_STORE_UNUSABLE */
export function openSoftHsmCloner(token: SoftHsmToken): NativeCloner {
  const folder = findTokenFolder({ serial: token.serial });
  const { cryptoki, session, clock, serial, stateFolder } = token;
  const store = new ObjectStore({ folder, clock });
  const open = {
    cryptoki,
    session,
    store,
    match: new ObjectMatch(token),
    known: new Set<Handle>(),
    prints: new FilePrints(),
    made: new Map<Handle, string>(),
    // Nobody compares its digests. A key is cloned far more often than anything else.
    objects: new ObjectReader({ cryptoki, session, digestKey: undefined, likely: ['secret-key', 'private-key'] }),
  };
  const withStore = async <T>(work: (store: OpenStore) => T | Promise<T>): Promise<T> => {
    const key = openTokenKey(folder.path, token.readPin);
    try {
      return await work({ ...open, key });
    } finally {
      key.wipe();
    }
  };
  openTokenKey(folder.path, token.readPin).wipe();
  return {
    shape: 'blobs',
    kind: 'softhsm',
    domain: () => withStore(({ key }) => key.domain()),
    take: (handles: readonly Handle[]): Promise<TakenObject[]> => withStore((store) => takeObjects(store, handles)),
    place: (items: readonly PlacedObject[]): Promise<PlaceOutcome> => withStore((store) => placeObjects(store, items)),
    stored: (shown: readonly Handle[]) =>
      storedUnseen(open, { shown, openKey: () => openTokenKey(folder.path, token.readPin) }),
    stamps: new CaptureStamps({ folder, store, serial, stateFolder }),
    discard: (handles: readonly Handle[]): Promise<void> => discardObjects(open, handles),
  };
}

/** @throws TOKEN_STORE_UNUSABLE */
export function openTokenKey(folder: string, readPin: () => Secret): TokenKey {
  const wrapped = tokenBytes(readTokenObject(folder), TOKEN_ATTRIBUTE.userKey);
  const key = wrapped && withLocked(readPin(), (pin) => TokenKey.open(wrapped, pin));
  return (
    key ??
    unusable(`the PIN does not open the token key in ${folder}`, {
      hint: 'Check that `pinFile` has the user PIN of this token. SoftHSM counts no attempt for this.',
    })
  );
}
