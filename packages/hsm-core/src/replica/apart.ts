/**
 * Seals objects of a partition outside the group's line, in a generation of this member alone. No order of the group
 * names it, so its epoch and its number are 0. Its previous digest is that of the generation in the partition.
 */
import { type Clock, hex, type Prng, runInSlices, sha256Hex } from '@antipode/runtime';
import type { Movement } from '../capture/capture-context.ts';
import { isSealed, movesNatively } from '../capture/classification.ts';
import { sealData } from '../capture/data-sealing.ts';
import { entryOf, type Sealed } from '../capture/entry.ts';
import { sealExactly } from '../capture/exact-sealing.ts';
import { type CloningDomain, cloningDomainOf, sealNatively } from '../capture/native-sealing.ts';
import { isWorthCloning, takeSecondForms } from '../capture/second-forms.ts';
import { lengthReasonOf, reasonOf } from '../capture/uncaptured.ts';
import type { Keyring } from '../domain-key/keyring.ts';
import type { DataKey, Entry, Generation, SealedGeneration } from '../model/generation.ts';
import { writingManifest } from '../model/manifest/manifest-writer.ts';
import { sealingSigned, signingInput } from '../model/manifest/signed-manifest.ts';
import {
  type Handle,
  isWrapped,
  OBJECT_ID_BYTES,
  type ObjectId,
  type ObservedObject,
  type UncapturedReason,
} from '../model/object.ts';
import { inBatches } from '../objects/batches.ts';
import type { Examined } from '../objects/recognise.ts';
import type { HsmProvider } from '../provider/provider.ts';

export interface ApartOptions {
  readonly provider: HsmProvider;
  readonly keyring: Keyring;
  readonly clock: Clock;
  readonly prng: Prng;
  /** The generation in the partition. Its domain key seals the objects. */
  readonly target: SealedGeneration;
  readonly domainKey: Handle;
  /** Absent for `sealed`. */
  readonly movement?: Movement;
}

export interface SealedApart {
  /** Absent if the token gave none of the objects. */
  readonly generation?: SealedGeneration;
  /** By SHA-256, hexadecimal. */
  readonly blobs: ReadonlyMap<string, Uint8Array>;
  readonly sealed: readonly { readonly one: Examined; readonly entry: Entry }[];
}

/**
 * Objects that cannot be sealed, or that the token does not give after all, are left out.
 * @param options.idOf the id that an object has already; every other one gets an id
 */
export async function sealApart(
  options: ApartOptions,
  objects: readonly Examined[],
  { idOf = () => undefined }: { idOf?: (one: Examined) => ObjectId | undefined } = {},
): Promise<SealedApart> {
  const blobs = new Map<string, Uint8Array>();
  const cloning = await cloningOf(options);
  const examined = objects.filter((one) => isSealable(one, cloning));
  const { sealed, dataKeys } = await sealAll(options, { examined, blobs, idOf, cloning });
  const entries = sealed.map(({ entry }) => entry);
  if (entries.length === 0) return { blobs, sealed };
  return { generation: await signed(options, { entries, dataKeys }), blobs, sealed };
}

/**
 * The cloning domain, where objects may be sealed natively. A key that devices move among themselves is sealed nowhere,
 * so it cannot be set aside.
 */
export async function cloningOf({
  provider,
  movement,
}: Pick<ApartOptions, 'provider' | 'movement'>): Promise<CloningDomain | undefined> {
  const { cloning } = movement !== undefined && movement !== 'sealed' ? await provider.describe() : {};
  return cloning?.shape === 'blobs' ? cloningDomainOf(cloning) : undefined;
}

/** Why the object cannot be sealed; undefined if it can be. */
export function unsealableReason(one: Examined, cloning?: CloningDomain): UncapturedReason | undefined {
  const reason = unwrappableReason(one);
  return reason !== undefined && movesNatively(one, { cloning, reason }) ? undefined : reason;
}

/** Why the object can be neither wrapped nor encrypted. */
function unwrappableReason(one: Examined): UncapturedReason | undefined {
  const { object, blob, refusal } = one;
  const hasTag = isExactly(one);
  if (hasTag) return reasonOf(object, { isNew: true, hasTrusted: false, hasTag });
  const reason = refusal ?? reasonOf(object, { isNew: true, hasTrusted: blob !== undefined });
  if (reason !== undefined) return reason;
  return object.objectClass === 'secret-key' && blob === undefined ? 'unreadable' : undefined;
}

export const isSealable = (one: Examined, cloning?: CloningDomain): boolean =>
  unsealableReason(one, cloning) === undefined;

/** Whether wrapping would change the secret, and the token tags it. */
const isExactly = ({ object, valueTag }: Examined): boolean =>
  object.objectClass === 'secret-key' &&
  valueTag !== undefined &&
  lengthReasonOf(object, { isNew: true }) !== undefined;

async function sealAll(
  { provider, clock, prng, target, domainKey, movement }: ApartOptions,
  {
    examined,
    blobs,
    idOf,
    cloning,
  }: {
    examined: readonly Examined[];
    cloning: CloningDomain | undefined;
    blobs: Map<string, Uint8Array>;
    idOf: (one: Examined) => ObjectId | undefined;
  },
): Promise<{ sealed: { one: Examined; entry: Entry }[]; dataKeys: DataKey[] }> {
  const named = examined.map((one) => ({
    one,
    object: one.object,
    handle: one.object.handle,
    objectId: idOf(one) ?? hex(prng.bytes(OBJECT_ID_BYTES)),
    bytes: one.object.valueBytes ?? one.object.sizeBits / 8,
  }));
  const forms = new Map<Handle, Sealed>();
  const isCloned = (one: Examined): boolean => unwrappableReason(one) !== undefined;
  const wrapped = named.filter(({ one, object }) => isWrapped(object.objectClass) && !isExactly(one) && !isCloned(one));
  for (const batch of inBatches(wrapped)) {
    const handles = batch.map(({ handle }) => handle);
    for (const outcome of await provider.wrap(domainKey, handles)) {
      if (!('blob' in outcome)) continue;
      const blobSha256 = sha256Hex(outcome.blob);
      blobs.set(blobSha256, outcome.blob);
      forms.set(outcome.handle, { blobSha256, blobSize: outcome.blob.length });
    }
  }
  const ports = { provider, clock, prng, group: target.generation.group, domainKey };
  const data = await sealData(
    ports,
    named.filter(({ object }) => object.objectClass === 'data'),
  );
  const exact = await sealExactly(
    ports,
    named.filter(({ one }) => isExactly(one) && !isCloned(one)),
  );
  const clones = named.filter(({ one }) => isCloned(one));
  const native =
    cloning === undefined || clones.length === 0
      ? undefined
      : await sealNatively(
          { ...ports, cloning },
          clones.map(({ one: { object, vectors }, handle, objectId }) => ({
            handle,
            objectId,
            vectors: object.objectClass === 'secret-key' ? vectors : undefined,
          })),
        );
  for (const values of [data, exact, ...(native === undefined ? [] : [native])]) {
    for (const [sha256, blob] of values.blobs) blobs.set(sha256, blob);
    for (const [handle, form] of values.sealed) forms.set(handle, form);
  }
  const sealed = named
    .filter(({ object, handle }) => !isSealed(object) || forms.has(handle))
    .map(({ one, object, handle, objectId }) => ({
      one,
      object,
      entry: entryOf({ object, objectId, before: undefined, sealed: forms.get(handle) ?? {} }),
    }));
  const second = await takeSecondForms(
    { ...ports, cloning },
    movement === 'prefer-native' ? sealed.filter(isWorthCloning) : [],
  );
  for (const [sha256, blob] of second.blobs) blobs.set(sha256, blob);
  return {
    sealed: sealed.map(({ one, entry }) => {
      const clone = second.clones.get(entry.objectId);
      return { one, entry: clone === undefined ? entry : { ...entry, clone } };
    }),
    dataKeys: [...data.dataKeys, ...exact.dataKeys, ...(native?.dataKeys ?? []), ...second.dataKeys],
  };
}

async function signed(
  { provider, keyring, clock, target }: ApartOptions,
  { entries, dataKeys }: { entries: readonly Entry[]; dataKeys: readonly DataKey[] },
): Promise<SealedGeneration> {
  const { serial, manufacturer, model, firmware } = await provider.describe();
  const { group, domainKeyVersion, domainKeyCheckTag } = target.generation;
  const generation: Generation = {
    group,
    domainKeyVersion,
    domainKeyCheckTag,
    epoch: 0n,
    number: 0n,
    previousDigest: target.digest,
    captureStartedMs: clock.wallMs(),
    source: { serial, manufacturer, model, firmware, identitySha256: keyring.identity.sha256 },
    dataKeys,
    entries,
    uncaptured: [],
    tombstones: [],
  };
  const manifest = await runInSlices(writingManifest(generation), clock);
  const signature = await provider.signAsIdentity(keyring.identity.handle, signingInput(manifest));
  const { publicHalf: signer } = keyring.identity;
  return runInSlices(sealingSigned({ generation, manifest, signature, signer }), clock);
}

/** The names by which a program finds an object of its class, each by itself. */
export function namesOf({
  objectClass,
  attributes: { id, label },
}: Pick<ObservedObject, 'objectClass' | 'attributes'>): string[] {
  const names: string[] = [];
  if (id?.length) names.push(`${objectClass} id ${hex(id)}`);
  if (label?.length) names.push(`${objectClass} label ${hex(label)}`);
  return names;
}
