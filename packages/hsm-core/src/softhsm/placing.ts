/** Objects into the store of a SoftHSM token, each whole or not at all, beside processes that use the token. */
import { hash, randomBytes } from 'node:crypto';
import { CKA } from '@antipode/cryptoki';
import { AntipodeError } from '@antipode/runtime';
import type { Handle, ObservedObject } from '../model/object.ts';
import type { PlacedObject, PlaceOutcome } from '../provider/native-cloner.ts';
import type { Refusal } from '../provider/restorer.ts';
import { differs, openBlobs } from './object-blob.ts';
import { GENERATION_BYTES } from './object-file.ts';
import { shortPrint } from './object-match.ts';
import { type ObjectStore, PREFIX } from './object-store.ts';
import type { OpenStore } from './softhsm-cloner.ts';
import { assign, type ObjectFile } from './taking.ts';
import { unusable } from './token-folder.ts';

type Failure = Refusal & { readonly index: number };

/** The system says so that there is no room. */
const FULL: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

export async function placeObjects(open: OpenStore, items: readonly PlacedObject[]): Promise<PlaceOutcome> {
  const looked = await look(open, items);
  if (looked.ready.length === 0) return outcome([], looked.failure);
  if (open.known.size === 0) remember(open, tokenObjects(open));
  const written = await write(open, looked.ready);
  if (written.files.length === 0) return outcome([], written.failure);
  open.store.sync();
  await open.store.announce();
  const shown = shownOf(open, written.files);
  const lost = shown.indexOf(undefined);
  if (lost === -1) return outcome(shown as Shown[], written.failure ?? looked.failure);
  // The token does not show what lies in its store. This call takes back its own files from there on.
  for (const { name, isNew } of written.files.slice(lost)) if (isNew) open.store.remove(name);
  await open.store.announce();
  return outcome(shown.slice(0, lost) as Shown[], { index: lost, code: 'HSM_UNAVAILABLE' });
}

/** An object that the token shows, and what it shows of it where that was asked. */
interface Shown {
  readonly handle: Handle;
  readonly seen: ObservedObject | undefined;
}

const outcome = (shown: readonly Shown[], failure: Failure | undefined): PlaceOutcome => ({
  handles: shown.map(({ handle }) => handle),
  ...(shown.length === 0 ? {} : { seen: shown.map(({ seen }) => seen) }),
  ...(failure === undefined ? {} : { failure }),
});

/** Changes nothing. Those before the first that cannot be made, and why that one cannot. */
async function look(
  { key, store }: OpenStore,
  items: readonly PlacedObject[],
): Promise<{ ready: Written[]; failure?: Failure }> {
  const ready: Written[] = [];
  const made = Map.groupBy(
    store.names().filter((name) => name.startsWith(PREFIX)),
    (name) => name.slice(0, STEM_LENGTH),
  );
  const opened = openBlobs(
    items.map(({ blob }) => blob),
    { domain: key.domain(), key },
  );
  const suffixes = freshSuffixes(items.length);
  for (const [index, item] of items.entries()) {
    const blob = opened[index]!;
    if ('failure' in blob) return { ready, failure: { index, code: blob.failure } };
    if (differs(item, blob.attributes)) return { ready, failure: { index, code: 'NATIVE_MISMATCH' } };
    const stem = stemOf(item);
    const names = made.get(stem);
    const there = names === undefined ? undefined : await sameAs(store, blob.body, names);
    const { body, attributes } = blob;
    ready.push({ name: there ?? stem + suffixes[index]!, isNew: there === undefined, body, attributes });
  }
  return { ready };
}

/** Of these files one that still has the bytes of the blob. Others were damaged or changed since they were made. */
async function sameAs(store: ObjectStore, body: Buffer, names: readonly string[]): Promise<string | undefined> {
  for (const name of names) if ((await store.read(name))?.subarray(GENERATION_BYTES).equals(body)) return name;
  return undefined;
}

const DIGEST_BYTES = 16;
const STEM_LENGTH = PREFIX.length + 2 * DIGEST_BYTES + 1;

const NAME_MARK = Buffer.from('antipode softhsm object name v1\0');

/** One for one blob of one entry: a repeat finds the file that an earlier call has made. */
function stemOf({ entry, blob }: PlacedObject): string {
  const named = Buffer.concat([NAME_MARK, hash('sha256', entry, 'buffer'), hash('sha256', blob, 'buffer')]);
  return `${PREFIX}${hash('sha256', named, 'hex').slice(0, 2 * DIGEST_BYTES)}-`;
}

const SUFFIX_BYTES = 4;

/**
 * The name of a new object is one that was never used. SoftHSM remembers the name of an object that it has destroyed, and
 * does not see another one under it.
 */
function freshSuffixes(count: number): string[] {
  const drawn = randomBytes(SUFFIX_BYTES * count).toString('hex');
  return Array.from({ length: count }, (_, at) => drawn.slice(2 * SUFFIX_BYTES * at, 2 * SUFFIX_BYTES * (at + 1)));
}

interface Written extends ObjectFile {
  readonly isNew: boolean;
}

/** @throws TOKEN_STORE_UNUSABLE where nothing at all can be written, HSM_UNAVAILABLE where another process writes */
async function write(
  { store }: OpenStore,
  ready: readonly Written[],
): Promise<{ files: Written[]; failure?: Failure }> {
  const generation = Buffer.alloc(GENERATION_BYTES);
  generation.writeBigUInt64BE(1n);
  const files: Written[] = [];
  const make = (): void => {
    store.sweep();
    try {
      for (const file of ready) {
        if (file.isNew) store.make(file.name, Buffer.concat([generation, file.body]));
        files.push(file);
      }
    } catch (thrown) {
      store.sweep();
      throw thrown;
    }
  };
  try {
    await store.alone(make);
    return { files };
  } catch (thrown) {
    if (thrown instanceof AntipodeError) throw thrown;
    const { code = '', message } = thrown as NodeJS.ErrnoException;
    const index = files.length;
    if (FULL.has(code)) return { files, failure: { index, code: 'HSM_FULL', returnValue: code } };
    if (index > 0) return { files, failure: { index, code: 'HSM_REFUSED', returnValue: code } };
    return unusable(`cannot write to the token folder: ${message}`, {
      cause: thrown,
      hint: 'Give the user of the agent the right to write into the token folder of SoftHSM: the user that owns it, with mode 0700.',
    });
  }
}

function remember({ known }: OpenStore, handles: readonly Handle[]): void {
  known.clear();
  for (const handle of handles) known.add(handle);
}

const tokenObjects = ({ cryptoki, session }: OpenStore): bigint[] => cryptoki.find(session, [[CKA.TOKEN, true]]);

/** The objects of these files, in their order; undefined where the token shows none that is as the file was made. */
function shownOf(open: OpenStore, files: readonly Written[]): (Shown | undefined)[] {
  const { match, objects, known, made } = open;
  const all = tokenObjects(open);
  const seen = new Map<Handle, ObservedObject>();
  /** A new object is most likely one of these, and is compared with the manifest next. So all of it is read at once. */
  const readNew = (handle: Handle): string | undefined => {
    const object = objects.read(handle);
    if (object === undefined) return undefined;
    seen.set(handle, object);
    return shortPrint((type) => objects.shown(type));
  };
  const isRepeat = files.some(({ isNew }) => !isNew);
  const candidates = isRepeat
    ? Map.groupBy(all, (handle) => match.shortPrintOf(handle) ?? '')
    : Map.groupBy(
        all.filter((handle) => !known.has(handle)),
        (handle) => readNew(handle) ?? '',
      );
  remember(open, all);
  const byPrint = Map.groupBy(files, ({ attributes }) => match.shortPrintOfFile(attributes));
  made.clear();
  const found = new Map<string, Shown>();
  for (const [handle, { name }] of assign(open, { files: byPrint, handles: candidates, isWhole: true })) {
    found.set(name, { handle, seen: seen.get(handle) });
    made.set(handle, name);
  }
  return files.map(({ name }) => found.get(name));
}

/** Takes back objects of the last call, by the files that hold them: their names tell that we have made them. */
export async function discardObjects(
  { store, made }: Pick<OpenStore, 'store' | 'made'>,
  handles: readonly Handle[],
): Promise<void> {
  const names = handles.flatMap((handle) => made.get(handle) ?? []);
  for (const name of names) store.remove(name);
  if (names.length > 0) await store.announce();
}
