/**
 * Makes every specimen in one token, replicates them all at once, and finds out the fate of each: captured,
 * restored alike in every attribute that a token shows, and used by a client.
 */
import { createHash } from 'node:crypto';
import { CKA } from '@antipode/cryptoki';
import {
  becomesOf,
  type CaptureResult,
  classNameOf,
  keyTypeNameOf,
  nameUncaptured,
  type ObservedObject,
  ReplicaMemory,
  type UncapturedReason,
} from '@antipode/hsm-core';
import { ATTRIBUTES } from '@antipode/hsm-core/testing';
import { hex } from '@antipode/runtime';
import { openRawToken, type RawToken, Refusal } from '../../attacks/support/raw-token.ts';
import { id } from '../../attacks/support/templates.ts';
import type { TokenPair } from '../token-pair.ts';
import type { TestToken } from '../tokens.ts';
import { idOf, isNamed, labelOf, namesOf, type Specimen, type Use, type Visitor } from './specimen.ts';

/** The fate of one specimen. */
export interface Finding {
  readonly kind: string;
  /** The token's answer to whoever tried to make it. */
  readonly refusedByToken?: string;
  readonly captured: number;
  /** `kind` is class and type as people know them: `secret key AES`. */
  readonly uncaptured: readonly { readonly kind: string; readonly reason: UncapturedReason }[];
  /** Names of attributes that another value has at the standby, and that nobody has reported. */
  readonly differs: readonly string[];
  readonly narrowed: readonly string[];
  readonly lost: readonly string[];
  readonly usedBy?: string;
  /** `yes`, `not tried`, or what went wrong. */
  readonly used: string;
}

type Made = { readonly specimen: Specimen; readonly use: Use | undefined; readonly refusal?: string };

/** Attributes of the standard that no other part of the project asks for (PKCS#11 3.0, pkcs11t.h). */
const UNUSED = {
  UNIQUE_ID: 0x004,
  NAME_HASH_ALGORITHM: 0x08c,
  PRIME_BITS: 0x133,
  SUBPRIME_BITS: 0x134,
  SECONDARY_AUTH: 0x200,
  AUTH_PIN_FLAGS: 0x201,
  GOSTR3410_PARAMS: 0x250,
  GOSTR3411_PARAMS: 0x251,
  GOST28147_PARAMS: 0x252,
};

const NAMES = new Map<number, string>(Object.entries({ ...CKA, ...UNUSED }).map(([name, type]) => [type, name]));

/** A token decides these by itself, and the manifest carries them: the length of a secret as its size. */
const CARRIED: ReadonlySet<number> = new Set([
  CKA.VALUE_LEN,
  ...Object.values(ATTRIBUTES)
    .filter(({ inTemplate }) => !inTemplate)
    .map(({ type }) => type),
]);

/** Their values are templates; a use compares them. */
const TEMPLATES: ReadonlySet<number> = new Set([CKA.WRAP_TEMPLATE, CKA.UNWRAP_TEMPLATE, CKA.DERIVE_TEMPLATE]);

const READ = [...NAMES.keys()].filter((type) => type < CKA.VENDOR_DEFINED && !TEMPLATES.has(type));

export async function visit(pair: TokenPair, specimens: readonly Specimen[]): Promise<Finding[]> {
  const { a, b, group } = pair;
  const made: Made[] = [];
  for (const [number, specimen] of specimens.entries()) made.push(await make(pair, { specimen, number }));

  const objects = await pair.objects(a);
  const result = await group.capture(a);
  const sealed = result.sealed!;
  const memory = new ReplicaMemory();
  await group.apply(b, sealed, { memory });
  const { contentDigest, proof } = await group.verify(b, sealed, { memory });
  if (contentDigest !== sealed.contentDigest || proof.failed > 0)
    throw new Error(`the standby does not have the generation: ${proof.failed} proofs failed`);

  // By processes that have not seen the tokens yet: SoftHSM shows objects that others have made only in part.
  const shown = { source: await allShown(a.token), standby: await allShown(b.token) };
  const uncaptured = await uncapturedOf(pair, { objects, result });
  const claimed = new Set<string>();
  const findings: Finding[] = [];
  for (const [number, { specimen, use, refusal }] of made.entries()) {
    const { kind, usedBy } = specimen;
    const isIt = (object: Pick<ObservedObject, 'objectClass' | 'attributes'>): boolean =>
      specimen.isIt?.(object as ObservedObject) ?? isNamed(object as ObservedObject, number);
    const entries = refusal === undefined ? sealed.generation.entries.filter(isIt) : [];
    for (const { objectId } of entries) claimed.add(objectId);
    const losses = entries.flatMap(({ objectId }) => result.notCarried.get(objectId) ?? []);
    const narrowed = entries.flatMap((entry) => becomesOf(entry).narrowed);
    findings.push({
      kind,
      ...(refusal === undefined ? {} : { refusedByToken: refusal }),
      captured: entries.length,
      uncaptured:
        refusal === undefined ? uncaptured.filter(({ object }) => isIt(object)).map(({ shown }) => shown) : [],
      differs:
        entries.length === 0
          ? []
          : differences(shown, {
              isIt: (object) => isIt(object) && entries.some(({ objectClass }) => objectClass === object.objectClass),
              excused: [...losses, ...narrowed],
              isNarrowed: narrowed.length > 0,
            }),
      narrowed: [...new Set(narrowed)],
      lost: [...new Set(losses)],
      ...(usedBy === undefined ? {} : { usedBy }),
      used:
        entries.length === 0 || use === undefined
          ? 'not tried'
          : await outcomeOf(use, {
              standby: pair.standby,
              find: (objectClass) => findOne(pair.standby, { objectClass, number }),
            }),
    });
  }
  const unclaimed = sealed.generation.entries.filter(({ objectId }) => !claimed.has(objectId));
  if (unclaimed.length > 0) throw new Error(`${unclaimed.length} captured objects belong to no specimen`);
  return findings;
}

async function make(
  { source, a }: TokenPair,
  { specimen, number }: { specimen: Specimen; number: number },
): Promise<Made> {
  const [text, ckaId] = [labelOf(number), id(idOf(number))];
  try {
    const use = await specimen.make({ source, token: a.token, names: namesOf(number), label: text, id: ckaId });
    return { specimen, use };
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown;
    return { specimen, use: undefined, refusal: thrown.returnValue };
  }
}

async function outcomeOf(use: Use, visitor: Visitor): Promise<string> {
  try {
    return (await use(visitor)) ? 'yes' : 'another result';
  } catch (thrown) {
    return String(thrown);
  }
}

async function findOne(
  token: RawToken,
  { objectClass, number }: { objectClass: number; number: number },
): Promise<bigint> {
  const wanted = [[CKA.CLASS, objectClass] as const];
  const byLabel = await token.find([...wanted, ...labelOf(number)]);
  const found = byLabel.length > 0 ? byLabel : await token.find([...wanted, ...id(idOf(number))]);
  if (found.length !== 1) throw new Error(`${found.length} objects of class ${objectClass} are found`);
  return found[0]!;
}

/** The objects that are not in the generation, each as `group show` names it. */
async function uncapturedOf(
  { a, group }: TokenPair,
  { objects, result }: { objects: readonly ObservedObject[]; result: CaptureResult },
) {
  const named = await nameUncaptured(
    objects.map((object) => ({ object, reason: 'unreadable', objectId: undefined })),
    (values) => a.provider.tagBytes(a.keyring.domainKey(group.name, 1).handle, values),
  );
  const objectOf = new Map(named.map(({ objectId }, index) => [objectId, objects[index]!]));
  return result.sealed!.generation.uncaptured.map((one) => ({
    object: objectOf.get(one.objectId)!,
    shown: { kind: nameOf(objectOf.get(one.objectId)!), reason: one.reason },
  }));
}

const nameOf = (object: ObservedObject): string => [classNameOf(object), keyTypeNameOf(object) ?? []].flat().join(' ');

type Shown = ReadonlyMap<number, string>;

/** Every object of a token, with all attributes that the token tells of it. */
async function allShown(token: TestToken): Promise<Shown[]> {
  const visitor = await openRawToken(token);
  try {
    const all: Shown[] = [];
    for (const handle of await visitor.find([[CKA.TOKEN, true]])) {
      const read = await visitor.attributes(handle, READ);
      all.push(new Map([...read].map(([type, value]) => [type, hex(value)])));
    }
    return all;
  } finally {
    await visitor.close();
  }
}

const CLASSES = [
  ...['data', 'certificate', 'public-key', 'private-key', 'secret-key', 'other'],
  'domain-parameters',
] as ObservedObject['objectClass'][];

function asObserved(shown: Shown): ObservedObject {
  const bytes = (type: number): Uint8Array => Buffer.from(shown.get(type) ?? '', 'hex');
  const objectClass = CLASSES[bytes(CKA.CLASS)[0]!] ?? 'other';
  return { objectClass, attributes: { label: bytes(CKA.LABEL), id: bytes(CKA.ID) } } as ObservedObject;
}

/** Names of attributes in which the objects of a specimen differ between the tokens without an excuse. */
function differences(
  { source, standby }: { source: readonly Shown[]; standby: readonly Shown[] },
  {
    isIt,
    excused,
    isNarrowed,
  }: { isIt: (object: ObservedObject) => boolean; excused: readonly string[]; isNarrowed: boolean },
): string[] {
  const own = (all: readonly Shown[]): Shown[] =>
    all.filter((one) => isIt(asObserved(one))).sort((x, y) => (orderOf(x) < orderOf(y) ? -1 : 1));
  const [here, there] = [own(source), own(standby)];
  if (here.length !== there.length) return [`${here.length} objects, ${there.length} at the standby`];
  const allowed = new Set(excused.map((name) => name.replace(/^CKA_/, '')));
  const differing = new Set<string>();
  for (const [index, one] of here.entries())
    for (const type of READ) {
      const name = NAMES.get(type)!;
      const isExcused =
        CARRIED.has(type) || allowed.has(name) || (isNarrowed && (type === CKA.SENSITIVE || type === CKA.VALUE));
      if (!isExcused && (one.get(type) ?? '') !== (there[index]!.get(type) ?? '')) differing.add(name);
    }
  return [...differing];
}

const orderOf = (shown: Shown): string =>
  createHash('sha256')
    .update(
      [CKA.CLASS, CKA.KEY_TYPE, CKA.LABEL, CKA.ID, CKA.EC_POINT, CKA.MODULUS].map((type) => shown.get(type)).join(),
    )
    .digest('hex');
