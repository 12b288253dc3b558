/**
 * Finds the objects of a generation that their names do not tell apart. Every member has all of them, and no token says
 * which one a search gives first. So a program that takes the first object with a name can find another one at another
 * site, or after a move.
 *
 * Two objects of equal value do not count: whichever is found, its value is the same.
 */
import { type KeyObject, X509Certificate } from 'node:crypto';
import { hex } from '@antipode/runtime';
import type { Entry } from '../model/generation.ts';
import type { ObjectId } from '../model/object.ts';
import { openedKey } from '../model/public-half.ts';
import { entryRecognitionKey } from './recognise.ts';

/**
 * - `id`: another object of its class has the same CKA_ID and another value.
 * - `label`: another object of its class has the same label and another value.
 * - `pair`: a public key or a certificate has the CKA_ID of private keys, and belongs to none of them. A search finds
 *   the same at every site, and a program that pairs by CKA_ID takes the wrong one everywhere.
 */
export const SHARED_NAMES = ['id', 'label', 'pair'] as const;

export type SharedName = (typeof SHARED_NAMES)[number];

export type SharedNames = ReadonlyMap<ObjectId, readonly SharedName[]>;

/** How many objects share each kind of name. An object that shares both counts in both. */
export type SharedNameCounts = Readonly<Record<SharedName, number>>;

export const NO_SHARED_NAMES: SharedNameCounts = { id: 0, label: 0, pair: 0 };

/** Some milliseconds: to ask for the names of an entry decodes it. */
const ENTRIES_A_SLICE = 1_000;

export function* findingSharedNames(entries: readonly Entry[]): Generator<void, SharedNames> {
  const byName = new Map<string, Entry[]>();
  const halves = new Map<string, Entry[]>();
  const privates = new Map<string, Entry[]>();
  for (const [index, entry] of entries.entries()) {
    if (index % ENTRIES_A_SLICE === ENTRIES_A_SLICE - 1) yield;
    const { id, label } = entry.attributes;
    if (label?.length) addTo(byName, `label ${kindOf(entry)} ${hex(label)}`, entry);
    if (!id?.length) continue;
    addTo(byName, `id ${kindOf(entry)} ${hex(id)}`, entry);
    if (entry.objectClass === 'private-key') addTo(privates, hex(id), entry);
    if (entry.objectClass === 'public-key' || entry.objectClass === 'certificate') addTo(halves, hex(id), entry);
  }
  const shared = new Map<ObjectId, SharedName[]>();
  for (const [name, alike] of byName) {
    if (alike.length === 1 || new Set(alike.map(entryRecognitionKey)).size === 1) continue;
    for (const { objectId } of alike) note(shared, objectId, name.startsWith('id ') ? 'id' : 'label');
    yield;
  }
  let examined = 0;
  for (const [id, keys] of privates)
    for (const half of halves.get(id) ?? []) {
      examined += 1;
      if (examined % ENTRIES_A_SLICE === 0) yield;
      if (keys.every((key) => isOfAnother(half, key))) note(shared, half.objectId, 'pair');
    }
  return shared;
}

export function countSharedNames(shared: SharedNames): SharedNameCounts {
  const counts = { ...NO_SHARED_NAMES };
  for (const names of shared.values()) for (const name of names) counts[name] += 1;
  return counts;
}

/** Programs search for data by its label and its application. */
const kindOf = ({ objectClass, attributes }: Entry): string =>
  objectClass === 'data' ? `data ${hex(attributes.application ?? new Uint8Array())}` : objectClass;

/** Whether the public key or the certificate surely belongs to another private key. */
function isOfAnother(half: Entry, { publicHalf }: Entry): boolean {
  const shown = half.objectClass === 'public-key' ? half.publicHalf : half.attributes.value;
  if (publicHalf === undefined || shown === undefined) return false;
  // A certificate has the public half inside, mostly byte for byte.
  if (Buffer.from(shown).includes(Buffer.from(publicHalf))) return false;
  const [key, other] = [openedKey(publicHalf), keyIn(half.objectClass, shown)];
  // An RSA key for PSS alone may be the same key under another name.
  if (key === undefined || other === undefined || isPss(key) !== isPss(other)) return false;
  return !key.equals(other);
}

const isPss = ({ asymmetricKeyType }: KeyObject): boolean => asymmetricKeyType === 'rsa-pss';

function keyIn(objectClass: Entry['objectClass'], shown: Uint8Array): KeyObject | undefined {
  if (objectClass === 'public-key') return openedKey(shown);
  try {
    return new X509Certificate(shown).publicKey;
  } catch {
    // Anything may be in a certificate object.
    return undefined;
  }
}

function addTo(groups: Map<string, Entry[]>, name: string, entry: Entry): void {
  const group = groups.get(name);
  if (group === undefined) groups.set(name, [entry]);
  else group.push(entry);
}

function note(shared: Map<ObjectId, SharedName[]>, objectId: ObjectId, name: SharedName): void {
  const names = shared.get(objectId);
  if (names === undefined) shared.set(objectId, [name]);
  else names.push(name);
}
