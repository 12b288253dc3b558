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
  open: OpenStore,
): Promise<void> {
  const wanted = new Map<string, Handle[]>();
  for (const handle of handles) {
    const print = open.match.shortPrintOf(handle);
    if (print === undefined) gone.add(handle);
    else gather(wanted, print, handle);
  }
  const domain = open.key.domain();
  const { files, isWhole } = await filesOf(open, wanted);
  for (const [handle, { body, attributes }] of assign(open, { files, handles: wanted, isWhole }))
    taken.set(
      handle,
      isHalfMade(attributes) ? { handle, reason: 'does-not-work' } : { handle, blob: makeBlob(domain, body) },
    );
}

/** As many files as are decrypted at once. */
const FILES_AT_ONCE = 256;

/**
 * The files of all objects of these short prints, also of those that nobody has asked for. `isWhole` where no file was
 * left out: then a short print that one file has stands for this file.
 */
async function filesOf(
  open: OpenStore,
  wanted: ReadonlyMap<string, unknown>,
): Promise<{ files: Map<string, ObjectFile[]>; isWhole: boolean }> {
  const { store, match, key, prints } = open;
  const found = new Map<string, ObjectFile[]>();
  const names = store.names();
  prints.keepOnly(names);
  let isWhole = true;
  for (let at = 0; at < names.length; at += FILES_AT_ONCE) {
    const read: { name: string; file: Buffer }[] = [];
    for (const name of names.slice(at, at + FILES_AT_ONCE)) {
      const print = prints.of(name, () => store.generationOf(name));
      if (print !== undefined && !wanted.has(print)) continue;
      const file = await store.read(name);
      if (file !== undefined) read.push({ name, file });
      else if (store.has(name)) isWhole = false;
    }
    const stored = read.map(({ file }) => parseObjectFile(file));
    const clear = revealed(
      stored.map((one) => one?.attributes),
      key,
    );
    for (const [index, attributes] of clear.entries()) {
      if (attributes === undefined) continue;
      const { name, file } = read[index]!;
      const print = match.shortPrintOfFile(attributes);
      prints.remember(name, { generation: stored[index]!.generation, print });
      if (wanted.has(print)) gather(found, print, { name, body: file.subarray(GENERATION_BYTES), attributes });
    }
  }
  return { files: found, isWhole };
}

function gather<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

/**
 * Which file holds which object; both come by their short prints. One that no file is left for is missing in the result:
 * the token tells objects apart that their files do not.
 *
 * @param options `isWhole`: the files, or the handles, are all that have these short prints
 */
export function assign<File extends ObjectFile>(
  open: OpenStore,
  {
    files,
    handles,
    isWhole,
  }: {
    files: ReadonlyMap<string, readonly File[]>;
    handles: ReadonlyMap<string, readonly Handle[]>;
    isWhole: boolean;
  },
): Map<Handle, File> {
  const { match } = open;
  const assigned = new Map<Handle, File>();
  for (const [print, alike] of files) {
    const candidates = handles.get(print) ?? [];
    if (isWhole && alike.length === 1 && candidates.length === 1) {
      assigned.set(candidates[0]!, alike[0]!);
      continue;
    }
    const byPrint = Map.groupBy(candidates, (handle) => match.printOf(handle));
    for (const file of alike) {
      const left = (byPrint.get(match.printOfFile(file.attributes)) ?? []).filter((handle) => !assigned.has(handle));
      // Those that are left fit equally well, since they are equal in their value too.
      const [fitting] = match.withValueOf(file.attributes, open.key, left);
      if (fitting !== undefined) assigned.set(fitting, file);
    }
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
