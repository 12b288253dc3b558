/** Objects out of the store of a SoftHSM token, each as it was at one moment. Nothing in the token is changed. */
import { CKA } from '@antipode/cryptoki';
import type { Handle } from '../model/object.ts';
import type { TakenObject } from '../provider/native-cloner.ts';
import { makeBlob } from './object-blob.ts';
import { GENERATION_BYTES, parseObjectFile, type StoredAttributes } from './object-file.ts';
import { isKeyFile, revealed } from './object-match.ts';
import type { OpenStore } from './softhsm-cloner.ts';

/** Where the secret part of a key is. */
const SECRETS = [CKA.VALUE, CKA.PRIVATE_EXPONENT];

/** Another process may change an object between the look at it and the look at its file. */
const LOOKS = 2;

/** The file of an object. Its bytes begin behind the generation number, which does not belong to the object. */
export interface ObjectFile {
  readonly name: string;
  readonly body: Buffer;
  /** Revealed. */
  readonly attributes: StoredAttributes;
}

export async function takeObjects(store: OpenStore, handles: readonly Handle[]): Promise<TakenObject[]> {
  const taken = new Map<Handle, TakenObject>();
  const gone = new Set<Handle>();
  for (let look = 1; look <= LOOKS && taken.size < handles.length; look += 1) {
    gone.clear();
    const left = handles.filter((handle) => !taken.has(handle));
    await takeInto({ taken, gone }, left, store);
  }
  // An object that is neither taken nor gone is changed by another process just now.
  return handles.map((handle) => taken.get(handle) ?? { handle, reason: gone.has(handle) ? 'unreadable' : 'settling' });
}

async function takeInto(
  { taken, gone }: { taken: Map<Handle, TakenObject>; gone: Set<Handle> },
  handles: readonly Handle[],
  store: OpenStore,
): Promise<void> {
  const { match, key } = store;
  const wanted = new Map<string, Handle[]>();
  for (const handle of handles) {
    const print = match.printOf(handle);
    if (print === undefined) gone.add(handle);
    else wanted.set(print, [...(wanted.get(print) ?? []), handle]);
  }
  const domain = key.domain();
  for (const [print, files] of await filesByPrint(store, wanted))
    for (const [handle, { body, attributes }] of assign(store, { files, handles: wanted.get(print)! }))
      taken.set(
        handle,
        isHalfMade(attributes) ? { handle, reason: 'does-not-work' } : { handle, blob: makeBlob(domain, body) },
      );
}

/** The files of all objects of these prints, also of those that nobody has asked for. */
async function filesByPrint(
  { store, match, key }: OpenStore,
  wanted: ReadonlyMap<string, unknown>,
): Promise<Map<string, ObjectFile[]>> {
  const found = new Map<string, ObjectFile[]>();
  for (const name of store.names()) {
    const file = await store.read(name);
    const stored = file && parseObjectFile(file);
    const attributes = stored && revealed(stored.attributes, key);
    if (attributes === undefined) continue;
    const print = match.printOfFile(attributes);
    if (!wanted.has(print)) continue;
    found.set(print, [...(found.get(print) ?? []), { name, body: file!.subarray(GENERATION_BYTES), attributes }]);
  }
  return found;
}

/**
 * Which of these files, all of one print, holds which object. One that no file is left for is missing in the result: the
 * token tells objects apart that their files do not.
 */
export function assign(
  { match, key }: OpenStore,
  { files, handles }: { files: readonly ObjectFile[]; handles: readonly Handle[] },
): Map<Handle, ObjectFile> {
  const assigned = new Map<Handle, ObjectFile>();
  for (const file of files) {
    const left = handles.filter((handle) => !assigned.has(handle));
    const fitting = files.length === 1 && handles.length === 1 ? left : match.withValueOf(file.attributes, key, left);
    // Those that are left fit equally well, since they are equal in their value too.
    if (fitting[0] !== undefined) assigned.set(fitting[0], file);
  }
  return assigned;
}

/** SoftHSM writes the secret of a key last, so that a killed process may leave a key without one. */
function isHalfMade(attributes: StoredAttributes): boolean {
  return (
    isKeyFile(attributes) &&
    SECRETS.every((type) => {
      const stored = attributes.get(type);
      return stored?.kind !== 'bytes' || stored.value.length === 0;
    })
  );
}
