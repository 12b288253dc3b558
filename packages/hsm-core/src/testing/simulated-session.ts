/** One session on a {@link SimulatedHsm}: the HsmProvider that tests capture, apply, enrol and prove with. */
import { createECDH, sign } from 'node:crypto';
import { AntipodeError, bytesEqual, sha256Hex } from '@antipode/runtime';
import { ATTRIBUTE_NAMES, ATTRIBUTES, type Attributes, attributesOf, setAttribute, USES } from '../model/attributes.ts';
import { CURVES } from '../model/curve.ts';
import { derivedBy, type Kdf } from '../model/kdf.ts';
import { type Handle, isWrapped, type ObservedObject } from '../model/object.ts';
import { isMarked, ownKeyOf } from '../model/own-key-name.ts';
import { barePoint, ecPublicHalf } from '../model/public-half.ts';
import { agree, type Vector } from '../model/vector.ts';
import { differencesOf } from '../objects/clone-comparison.ts';
import { LookLog } from '../objects/look-log.ts';
import { EXACT_PAIRS, type ExactModulusBits } from '../provider/exact-sealer.ts';
import type {
  BatchOutcome,
  CaptureStamp,
  Challenge,
  CreateItem,
  DataOutcome,
  DeviceItem,
  DeviceOutcome,
  DomainKeyEnd,
  ExactKey,
  ExactOpening,
  ExactOutcome,
  HsmProvider,
  Look,
  MarkedKey,
  NativeItem,
  NativeOutcome,
  OwnKey,
  OwnKeyRecord,
  PartitionDescription,
  ProofItem,
  ProofOutcome,
  Refusal,
  UnwrapItem,
  WrapOutcome,
} from '../provider/provider.ts';
import { SimulatedCloner } from './simulated-cloner.ts';
import {
  checkTagOf,
  decrypt,
  ecKey,
  encrypt,
  exactTagOf,
  GCM_IV_BYTES,
  pkcs8,
  privateKey,
  proofOf,
  publicHalfIn,
  publicHalfOf,
  tagOf,
  unwrap,
  vectorsOf,
  wrap,
} from './simulated-crypto.ts';
import type { Interrupt, SimulatedHsm, StoredObject } from './simulated-hsm.ts';

export class SimulatedSession implements HsmProvider {
  readonly #token: SimulatedHsm;
  readonly #interrupt: Interrupt;
  readonly #held = new Map<Handle, StoredObject>();
  readonly #handles = new Map<StoredObject, Handle>();
  readonly #sessionObjects = new Set<StoredObject>();
  readonly #trusted = new Map<Handle, Handle>();
  /** Of a key that carries secrets: how many bytes it takes. */
  readonly #carried = new Map<Handle, number>();
  /** In every read digest: as with a real worker, a digest of one session means nothing to another. */
  readonly #number: number;
  #nextHandle: bigint;
  readonly #looks = new LookLog();
  #lookCount = 0;
  #isLost = false;

  constructor(token: SimulatedHsm, interrupt: Interrupt) {
    this.#token = token;
    this.#interrupt = interrupt;
    this.#number = ++token.sessionCount;
    this.#nextHandle = BigInt(token.prng.bytes(1)[0]! * 1_000 + 1);
  }

  /** How many session keys have not been forgotten. */
  get sessionObjectCount(): number {
    return this.#sessionObjects.size;
  }

  async describe(): Promise<PartitionDescription> {
    this.#alive();
    const serial = this.#token.serial;
    const cloner = this.#cloner();
    return {
      serial,
      label: `token ${serial}`,
      manufacturer: 'Antipode',
      model: 'simulated',
      firmware: '1.0',
      unenforced: [],
      freeSlots: 0,
      silentSlots: [],
      ...(cloner === undefined
        ? {}
        : {
            cloning: {
              kind: cloner.kind,
              shape: this.#token.sees === undefined ? 'blobs' : 'device',
              domain: await cloner.domain(),
            },
          }),
    };
  }

  // --- reading ---

  async look({ since, handles }: { since?: number; handles?: readonly Handle[] }): Promise<Look> {
    this.#alive();
    this.#token.onInventory(++this.#lookCount);
    const number = this.#looks.begin();
    const present = handles?.flatMap((handle) => this.#find(handle) ?? []) ?? this.#token.objects;
    const seen = present.map((object) => this.#observe(object));
    const objects = seen.filter(({ handle, readDigest }) => this.#looks.hasChanged(handle, readDigest, since));
    const left = new Set(seen.map(({ handle }) => handle));
    for (const handle of handles ?? []) if (!left.has(handle)) this.#looks.forget(handle);
    if (handles === undefined) this.#looks.endWhole();
    const olderFor = handles === undefined ? this.#olderFor() : [];
    return {
      number,
      handles: BigUint64Array.from(left),
      objects,
      ...(olderFor.length === 0 ? {} : { olderFor }),
    };
  }

  #olderFor(): string[] {
    const { stamps, stampsPut } = this.#token;
    return [...stampsPut].flatMap(([group, put]) => {
      const found = stamps.get(group);
      return found === undefined || found.epoch < put.epoch || (found.epoch === put.epoch && found.number < put.number)
        ? group
        : [];
    });
  }

  async stampStore({ group, epoch, number, replacesOlder }: CaptureStamp): Promise<boolean | undefined> {
    this.#alive();
    const { hasStore, stamps, stampsPut } = this.#token;
    if (!hasStore) return undefined;
    if (this.#olderFor().includes(group) && !replacesOlder) return false;
    stamps.set(group, { epoch, number });
    stampsPut.set(group, { epoch, number });
    return true;
  }

  async inventory(): Promise<ObservedObject[]> {
    return [...(await this.look({})).objects];
  }

  async read(handles: readonly Handle[]): Promise<(ObservedObject | undefined)[]> {
    this.#alive();
    return handles.map((handle) => {
      const object = this.#find(handle);
      return object && this.#observe(object);
    });
  }

  async destroy(handles: readonly Handle[], readDigests: readonly (string | undefined)[] = []): Promise<Handle[]> {
    this.#alive();
    return handles.filter((handle, index) => {
      const object = this.#find(handle);
      if (object === undefined) return false;
      const expected = readDigests[index];
      if (expected !== undefined && this.#observe(object).readDigest !== expected) return true;
      if (object.attributes.destroyable === false) return true;
      this.#step('destroy');
      this.#token.remove(object);
      this.#step('destroyed');
      return false;
    });
  }

  async hide(handles: readonly Handle[], readDigests: readonly string[]): Promise<Handle[]> {
    this.#alive();
    return handles.filter((handle, index) => {
      const object = this.#find(handle);
      if (object === undefined) return false;
      if (this.#observe(object).readDigest !== readDigests[index] || object.attributes.modifiable === false)
        return true;
      const uses = Object.fromEntries(USES.filter((use) => object.attributes[use]).map((use) => [use, false]));
      const label = Buffer.from(`antipode hidden ${handle}`);
      object.attributes = { ...object.attributes, ...uses, label, id: this.#token.prng.bytes(16) };
      return false;
    });
  }

  // --- own keys ---

  async generateIdentity(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array }> {
    this.#alive();
    const key = ecKey(this.#token.prng);
    const publicHalf = publicHalfOf(key);
    const common = { keyType: 'ec', publicHalf, sizeBits: 256 } as const;
    const names = { label: Buffer.from('antipode identity'), id: ckaId };
    const attributes = { ...names, sign: true, sensitive: true, extractable: false };
    this.#store({ ...common, objectClass: 'private-key', value: pkcs8(key), attributes });
    return { publicHalf };
  }

  async findIdentity(record: { ckaId: Uint8Array; publicHalf: Uint8Array }): Promise<OwnKey | undefined> {
    this.#alive();
    const key = this.#byId('private-key', record.ckaId);
    if (key?.publicHalf === undefined || !bytesEqual(key.publicHalf, record.publicHalf)) return undefined;
    return { handle: this.#handleOf(key), companions: [] };
  }

  /** Keeps none, like NSS softokn. */
  async generateReceivingKey(): Promise<undefined> {
    this.#alive();
  }

  async findReceivingKey(): Promise<undefined> {
    this.#alive();
  }

  /** Keeps no officer key. Tests plant trusted keys ({@link SimulatedMember.trust}). */
  async generateOfficerKey(): Promise<undefined> {
    this.#alive();
  }

  async findOfficerKey(): Promise<undefined> {
    this.#alive();
  }

  async trustKeys(): Promise<never> {
    throw refused('C_Login', 'CKR_USER_TYPE_INVALID');
  }

  async openTrustedDelivery(): Promise<never> {
    throw refused('C_UnwrapKey', 'CKR_WRAPPED_KEY_INVALID');
  }

  async signAsIdentity(identity: Handle, message: Uint8Array): Promise<Uint8Array> {
    this.#alive();
    const key = privateKey(this.#get(identity));
    return new Uint8Array(sign('sha256', message, { key, dsaEncoding: 'ieee-p1363' }));
  }

  async findDomainKey({ trusted, ...record }: OwnKeyRecord & { trusted?: OwnKeyRecord }): Promise<OwnKey | undefined> {
    this.#alive();
    const byTag = ({ ckaId, checkTag }: OwnKeyRecord): Handle | undefined => {
      const key = this.#byId('secret-key', ckaId);
      return key !== undefined && bytesEqual(checkTagOf(key), checkTag) ? this.#handleOf(key) : undefined;
    };
    const handle = byTag(record);
    if (handle === undefined) return undefined;
    const trustedKey = trusted && byTag(trusted);
    if (trustedKey === undefined) this.#trusted.delete(handle);
    else this.#trusted.set(handle, trustedKey);
    return { handle, companions: [], ...(trustedKey === undefined ? {} : { trusted: trustedKey }) };
  }

  #wrappingKeyOf(domainKey: Handle, { wrapWithTrusted }: Attributes): StoredObject | undefined {
    const handle = wrapWithTrusted === true ? this.#trusted.get(domainKey) : domainKey;
    return handle === undefined ? undefined : this.#get(handle);
  }

  async destroyDomainKey(record: { ckaId: Uint8Array; checkTag: Uint8Array }): Promise<DomainKeyEnd> {
    this.#alive();
    const key = this.#byId('secret-key', record.ckaId);
    if (key === undefined) return 'absent';
    if (!bytesEqual(checkTagOf(key), record.checkTag)) return 'unproven';
    if (key.attributes.destroyable === false) return 'kept';
    this.#step('destroy');
    this.#token.remove(key);
    this.#step('destroyed');
    return 'destroyed';
  }

  async findUnder(ckaIds: readonly Uint8Array[]): Promise<Handle[]> {
    this.#alive();
    return this.#token.objects
      .filter(({ attributes: { id } }) => id !== undefined && ckaIds.some((ckaId) => bytesEqual(ckaId, id)))
      .map((object) => this.#handleOf(object));
  }

  async findMarked(identityIds: readonly Uint8Array[]): Promise<MarkedKey[]> {
    this.#alive();
    return this.#token.objects.flatMap((object) => {
      const { objectClass, attributes, value } = object;
      if (objectClass !== 'secret-key' || attributes.extractable !== false || attributes.id === undefined) return [];
      const [ckaId, label] = [attributes.id, Buffer.from(attributes.label ?? []).toString()];
      const named = ownKeyOf(label);
      if (named === undefined || !identityIds.some((identityId) => isMarked(ckaId, { identityId, label }))) return [];
      const tag = value === undefined ? {} : { checkTag: checkTagOf(object) };
      return [{ ...named, handle: this.#handleOf(object), ckaId, ...tag }];
    });
  }

  // --- exchange ---

  async generateDomainKey(): Promise<Handle> {
    this.#alive();
    return this.#session(this.#token.prng.bytes(32), { sensitive: true, extractable: true });
  }

  async generateEphemeral(): Promise<{ handle: Handle; point: Uint8Array; kdfs: readonly Kdf[] }> {
    this.#alive();
    const key = ecKey(this.#token.prng);
    const handle = this.#session(pkcs8(key), { derive: true });
    return { handle, point: publicHalfOf(key).slice(-65), kdfs: this.#token.kdfs };
  }

  async deriveExchangeKey(options: {
    ephemeral: Handle;
    peerPoint: Uint8Array;
    use: string;
    kdf?: Kdf;
  }): Promise<Handle> {
    this.#alive();
    const { kdf = 'null' } = options;
    if (!this.#token.kdfs.includes(kdf)) throw refused('C_DeriveKey', 'CKR_MECHANISM_PARAM_INVALID');
    const ours = createECDH('prime256v1');
    const { d } = privateKey(this.#get(options.ephemeral)).export({ format: 'jwk' });
    ours.setPrivateKey(Buffer.from(d!, 'base64url'));
    try {
      const value = Buffer.from(derivedBy(kdf, ours.computeSecret(options.peerPoint), 32));
      return this.#session(value, { [options.use]: true });
    } catch {
      throw refused('C_DeriveKey', 'CKR_MECHANISM_PARAM_INVALID');
    }
  }

  async wrapDomainKey(options: { exchangeKey: Handle; domainKey: Handle }): Promise<Uint8Array> {
    this.#alive();
    return wrap(this.#get(options.exchangeKey), this.#get(options.domainKey).value!);
  }

  async installDomainKey(options: {
    exchangeKey: Handle;
    blob: Uint8Array;
    ckaId: Uint8Array;
    label: string;
  }): Promise<{ checkTag: Uint8Array }> {
    this.#alive();
    const value = unwrap(this.#get(options.exchangeKey), options.blob);
    if (value === undefined) throw refused('C_UnwrapKey', 'CKR_WRAPPED_KEY_INVALID');
    const names = { label: Buffer.from(options.label), id: options.ckaId };
    const attributes = { ...names, sensitive: true, extractable: false, wrap: true, unwrap: true };
    const key = this.#store({ objectClass: 'secret-key', keyType: 'aes', value, sizeBits: 256, attributes });
    return { checkTag: checkTagOf(key) };
  }

  async lendDomainKey(): Promise<{ handle: Handle; checkTag: Uint8Array }> {
    this.#alive();
    const handle = this.#session(this.#token.prng.bytes(32), { sensitive: true, wrap: true, unwrap: true });
    return { handle, checkTag: checkTagOf(this.#get(handle)) };
  }

  async forget(handles: readonly Handle[]): Promise<void> {
    this.#alive();
    for (const handle of handles) {
      const object = this.#held.get(handle);
      if (object !== undefined) this.#sessionObjects.delete(object);
      this.#held.delete(handle);
    }
  }

  // --- sealing ---

  async wrap(domainKey: Handle, handles: readonly Handle[]): Promise<WrapOutcome[]> {
    this.#alive();
    const key = this.#present(domainKey);
    if (key === undefined)
      throw new AntipodeError('HSM_SESSION_VOID', 'the domain key no longer wraps', {
        details: { call: 'C_WrapKey', returnValue: 'CKR_WRAPPING_KEY_HANDLE_INVALID' },
      });
    return handles.map((handle) => {
      const object = this.#find(handle);
      if (object?.value === undefined) return { handle, reason: 'unreadable', returnValue: 'CKR_GENERAL_ERROR' };
      if (object.attributes.extractable !== true)
        return { handle, reason: 'unextractable', returnValue: 'CKR_KEY_UNEXTRACTABLE' };
      const wrapping = this.#wrappingKeyOf(domainKey, object.attributes);
      if (wrapping === undefined) return { handle, reason: 'wrap-with-trusted', returnValue: 'CKR_KEY_NOT_WRAPPABLE' };
      return { handle, blob: wrap(wrapping, object.value) };
    });
  }

  async generateDataKey(domainKey: Handle): Promise<{ handle: Handle; blob: Uint8Array }> {
    this.#alive();
    const value = this.#token.prng.bytes(32);
    return { handle: this.#session(value, { encrypt: true }), blob: wrap(this.#get(domainKey), value) };
  }

  async sealData(options: {
    domainKey: Handle;
    dataKey: Handle;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<DataOutcome[]> {
    this.#alive();
    return options.items.map(({ handle, aad }): DataOutcome => {
      const value = this.#find(handle)?.value;
      if (value === undefined) return { handle, reason: 'unreadable' };
      return {
        handle,
        ciphertext: this.#encrypt(options.dataKey, value, aad),
        valueTag: tagOf(this.#get(options.domainKey), value),
      };
    });
  }

  async tagData(domainKey: Handle, handles: readonly Handle[]): Promise<Uint8Array[]> {
    return this.tagBytes(
      domainKey,
      handles.map((handle) => this.#find(handle)?.value ?? new Uint8Array()),
    );
  }

  async tagBytes(domainKey: Handle, values: readonly Uint8Array[]): Promise<Uint8Array[]> {
    this.#alive();
    return values.map((value) => tagOf(this.#get(domainKey), value));
  }

  // --- sealing exactly: a key that wraps takes the place of an RSA pair ---

  async tagSecrets(domainKey: Handle, handles: readonly Handle[]): Promise<(Uint8Array | undefined)[]> {
    this.#alive();
    const key = this.#get(domainKey);
    return handles.map((handle) => {
      const value = this.#token.offersExact ? this.#find(handle)?.value : undefined;
      return value && exactTagOf(key, value);
    });
  }

  async generateExactKey(domainKey: Handle, modulusBits: ExactModulusBits): Promise<ExactKey | undefined> {
    this.#alive();
    if (!this.#token.offersExact) return undefined;
    const [data, carrier] = [this.#token.prng.bytes(32), this.#token.prng.bytes(32)];
    const key = this.#get(domainKey);
    const wrapping = this.#session(carrier, { wrap: true });
    this.#carried.set(wrapping, EXACT_PAIRS.find((pair) => pair.modulusBits === modulusBits)!.bytesMax);
    return {
      dataKey: this.#session(data, { encrypt: true }),
      wrapping,
      opening: this.#session(carrier, { unwrap: true }),
      blob: new Uint8Array(Buffer.concat([wrap(key, data), wrap(key, carrier)])),
    };
  }

  async sealSecrets(options: Parameters<HsmProvider['sealSecrets']>[0]): Promise<ExactOutcome[]> {
    this.#alive();
    const [domainKey, wrapping] = [this.#get(options.domainKey), this.#get(options.exactKey.wrapping)];
    return options.items.map(({ handle, aad }): ExactOutcome => {
      const object = this.#find(handle);
      if (object?.value === undefined) return { handle, reason: 'unreadable', returnValue: 'CKR_GENERAL_ERROR' };
      if (object.attributes.extractable !== true || object.attributes.wrapWithTrusted === true)
        return { handle, reason: 'unextractable' };
      if (object.value.length > this.#carried.get(options.exactKey.wrapping)!)
        return { handle, reason: 'not-wrappable' };
      const ciphertext = this.#encrypt(options.exactKey.dataKey, wrap(wrapping, object.value), aad);
      return { handle, ciphertext, valueTag: exactTagOf(domainKey, object.value) };
    });
  }

  async openExactKey(domainKey: Handle, blob: Uint8Array): Promise<ExactOpening> {
    this.#alive();
    if (!this.#token.offersExact) return { failure: { code: 'SECRET_INEXACT' } };
    const key = this.#get(domainKey);
    const data = unwrap(key, blob.subarray(0, WRAPPED_KEY_BYTES));
    const carrier = unwrap(key, blob.subarray(WRAPPED_KEY_BYTES));
    if (data === undefined || carrier === undefined)
      return { failure: { code: 'BLOB_INVALID', returnValue: 'CKR_WRAPPED_KEY_INVALID' } };
    const [dataKey, wrapping] = [this.#session(data, { decrypt: true }), this.#session(carrier, { wrap: true })];
    return { key: { dataKey, wrapping, opening: this.#session(carrier, { unwrap: true }) } };
  }

  async unwrapSecrets({ exactKey, items }: Parameters<HsmProvider['unwrapSecrets']>[0]): Promise<BatchOutcome> {
    const [data, carrier] = [this.#get(exactKey.dataKey), this.#get(exactKey.opening)];
    return this.#batch(items, ({ aad, ...item }) => {
      const blob = decrypt(data, { ciphertext: item.blob, aad });
      if (blob === undefined) return { code: 'BLOB_INVALID', returnValue: 'CKR_ENCRYPTED_DATA_INVALID' };
      return this.#unwrap(carrier, { ...item, blob });
    });
  }

  // --- natively ---

  async takeNative({ dataKey, items }: Parameters<HsmProvider['takeNative']>[0]): Promise<NativeOutcome[]> {
    this.#alive();
    const cloner = this.#blobCloner();
    if (cloner === undefined) return items.map(({ handle }) => ({ handle, reason: 'not-wrappable' }));
    const taken = await cloner.take(items.map(({ handle }) => handle));
    return taken.map((one, index): NativeOutcome => {
      if ('reason' in one) return one;
      return { handle: one.handle, ciphertext: this.#encrypt(dataKey, one.blob, items[index]!.aad) };
    });
  }

  async putNative({ dataKey, items }: Parameters<HsmProvider['putNative']>[0]): Promise<BatchOutcome> {
    this.#alive();
    const handles: Handle[] = [];
    for (const [index, item] of items.entries()) {
      const made = await this.#putNative(dataKey, item);
      if (typeof made !== 'bigint') return { handles, failure: { index, ...made } };
      handles.push(made);
    }
    return { handles };
  }

  async #putNative(dataKey: Handle, item: NativeItem): Promise<Handle | Refusal> {
    const cloner = this.#blobCloner();
    if (cloner === undefined) return { code: 'NATIVE_UNAVAILABLE' };
    const { ciphertext, aad, ...object } = item;
    const blob = decrypt(this.#get(dataKey), { ciphertext, aad });
    if (blob === undefined) return { code: 'BLOB_INVALID', returnValue: 'CKR_ENCRYPTED_DATA_INVALID' };
    if (this.#token.objects.length >= this.#token.objectsMax)
      return { code: 'HSM_FULL', returnValue: 'CKR_DEVICE_MEMORY' };
    const { handles, failure } = await cloner.place([{ ...object, blob, entry: aad }]);
    const [handle] = handles;
    if (handle === undefined) return failure ?? { code: 'HSM_REFUSED' };
    const made = this.#get(handle);
    if (differencesOf(object, this.#observe(made)).length === 0) return handle;
    await cloner.discard([handle]);
    return { code: 'NATIVE_MISMATCH' };
  }

  async cloneNative({ domainKey, source, items }: Parameters<HsmProvider['cloneNative']>[0]): Promise<DeviceOutcome[]> {
    this.#alive();
    const { sees, cloningKey } = this.#token;
    if (sees === undefined || cloningKey === undefined) return items.map(() => ({ code: 'NATIVE_UNAVAILABLE' }));
    const reached = sees.filter(({ isReached }) => isReached);
    const from = source === undefined ? [] : [...reached.filter(({ serial }) => serial === source), ...reached];
    return items.map((item): DeviceOutcome => {
      let refusal: Refusal = { code: 'NATIVE_SOURCE_UNREACHED' };
      if (item.replaces !== undefined) {
        const { attributes } = this.#get(item.replaces);
        for (const name of Object.keys(attributes)) delete attributes[name as keyof Attributes];
        Object.assign(attributes, item.attributes);
        return { handle: item.replaces };
      }
      for (const device of from) {
        const outcome = this.#copy(item, { device, cloningKey, domainKey });
        if (typeof outcome === 'bigint') return { handle: outcome };
        refusal = outcome;
      }
      return refusal;
    });
  }

  #copy(
    item: DeviceItem,
    { device, cloningKey, domainKey }: { device: SimulatedHsm; cloningKey: Uint8Array; domainKey: Handle },
  ): Handle | Refusal {
    if (device.cloningKey === undefined || !bytesEqual(device.cloningKey, cloningKey))
      return { code: 'CLONING_DOMAIN_OTHER' };
    const label = Buffer.from(item.attributes.label ?? []).toString();
    const found = device.labelled(label).filter(({ objectClass }) => objectClass === item.objectClass);
    if (found.length === 0) return { code: 'NATIVE_NOT_CLONED', returnValue: 'absent' };
    if (this.#token.objects.length >= this.#token.objectsMax)
      return { code: 'HSM_FULL', returnValue: 'CKR_DEVICE_MEMORY' };
    let isCopied = false;
    for (const object of found) {
      const origin = object.origin ?? object;
      if (this.#token.objects.some((one) => (one.origin ?? one) === origin)) continue;
      const handle = this.#placed({ ...object, attributes: { ...object.attributes }, origin });
      const made = this.#get(handle);
      const isValue = item.vectors === undefined || found.length === 1 || this.#hasVectors(domainKey, made, item);
      if (isValue && differencesOf(item, this.#observe(made)).length === 0) return handle;
      isCopied = true;
      this.#token.remove(made);
    }
    return { code: isCopied ? 'NATIVE_MISMATCH' : 'NATIVE_NOT_CLONED' };
  }

  #hasVectors(domainKey: Handle, object: StoredObject, { vectors = [] }: DeviceItem): boolean {
    return agree(vectors, vectorsOf(this.#get(domainKey), object));
  }

  #blobCloner(): SimulatedCloner | undefined {
    return this.#token.sees === undefined ? this.#cloner() : undefined;
  }

  #cloner(): SimulatedCloner | undefined {
    const { cloningKey } = this.#token;
    if (cloningKey === undefined) return undefined;
    return new SimulatedCloner({
      cloningKey,
      find: (handle) => this.#find(handle),
      findPlaced: (name) => {
        const placed = this.#token.objects.find(({ placedAs }) => placedAs === name);
        return placed && this.#handleOf(placed);
      },
      store: (object) => this.#placed(object),
      destroy: (handle) => this.#token.remove(this.#get(handle)),
    });
  }

  /** Puts an object in whole, as a device does. */
  #placed(object: StoredObject): Handle {
    this.#step('place');
    const { value } = object;
    const stored = this.#store(value === undefined ? object : { ...object, value: this.#token.distort(value) });
    this.#step('placed');
    return this.#handleOf(stored);
  }

  /** As somebody would who has the data key. */
  async encryptFor(dataKey: Handle, value: Uint8Array, aad: Uint8Array): Promise<Uint8Array> {
    return this.#encrypt(dataKey, value, aad);
  }

  #encrypt(dataKey: Handle, value: Uint8Array, aad: Uint8Array): Uint8Array {
    return encrypt(this.#get(dataKey), { value, aad, iv: this.#token.prng.bytes(GCM_IV_BYTES) });
  }

  // --- unsealing ---

  async unwrap(domainKey: Handle, items: readonly UnwrapItem[]): Promise<BatchOutcome> {
    this.#get(domainKey);
    return this.#batch(items, (item) => {
      const key = this.#wrappingKeyOf(domainKey, item.attributes);
      return key === undefined ? { code: 'DOMAIN_KEY_UNTRUSTED' } : this.#unwrap(key, item);
    });
  }

  #unwrap(key: StoredObject, { objectClass, keyType, attributes, blob, replaces }: UnwrapItem): StoredObject | Refusal {
    const holder = this.#holderOf(objectClass, attributes);
    if (holder !== undefined && this.#handleOf(holder) !== replaces) return { code: 'ID_TAKEN' };
    const value = unwrap(key, blob);
    const publicHalf = value && objectClass === 'private-key' ? publicHalfIn(value) : undefined;
    if (value === undefined || (objectClass === 'private-key' && publicHalf === undefined))
      return { code: 'BLOB_INVALID', returnValue: 'CKR_WRAPPED_KEY_INVALID' };
    this.#step('unwrap');
    if (holder !== undefined) {
      holder.attributes = { ...settable(attributes), sensitive: true, extractable: true, ...UNWRAPPED };
      this.#step('unwrapped');
      return holder;
    }
    const object = this.#store({
      objectClass,
      keyType,
      // CKA_VALUE_LEN reads 0 after an unwrap, and the history from before the wrap is lost.
      sizeBits: keyType === 'generic-secret' ? 0 : objectClass === 'secret-key' ? value.length * 8 : 256,
      attributes: { ...settable(attributes), sensitive: true, extractable: true, ...UNWRAPPED },
    });
    this.#step('half unwrapped');
    object.value = this.#token.distort(value);
    if (publicHalf !== undefined) object.publicHalf = publicHalf;
    this.#step('unwrapped');
    return object;
  }

  async create(items: readonly CreateItem[]): Promise<BatchOutcome> {
    return this.#batch(items, ({ objectClass, keyType, attributes, replaces }) => {
      const holder = this.#holderOf(objectClass, attributes);
      if (holder !== undefined && this.#handleOf(holder) !== replaces) return { code: 'ID_TAKEN' };
      this.#step('create');
      if (holder !== undefined) {
        holder.attributes = settable(attributes);
        this.#step('created');
        return holder;
      }
      const { ecPoint } = attributes;
      const object = this.#store({
        objectClass,
        ...(keyType === undefined ? {} : { keyType }),
        sizeBits: keyType === undefined ? 0 : 256,
        attributes: settable(attributes),
        ...(ecPoint === undefined ? {} : { publicHalf: new Uint8Array(ecPublicHalf(P256, barePoint(P256, ecPoint)!)) }),
      });
      this.#step('created');
      return object;
    });
  }

  async unwrapDataKey(domainKey: Handle, blob: Uint8Array): Promise<Handle> {
    this.#alive();
    const value = unwrap(this.#get(domainKey), blob);
    if (value === undefined) throw new AntipodeError('BLOB_INVALID', 'the token refused the data key');
    return this.#session(value, { decrypt: true });
  }

  async createData(options: {
    dataKey: Handle;
    items: readonly { attributes: Attributes; ciphertext: Uint8Array; aad: Uint8Array }[];
  }): Promise<BatchOutcome> {
    const key = this.#get(options.dataKey);
    return this.#batch(options.items, ({ attributes, ciphertext, aad }) => {
      const value = decrypt(key, { ciphertext, aad });
      if (value === undefined) return { code: 'BLOB_INVALID', returnValue: 'CKR_ENCRYPTED_DATA_INVALID' };
      this.#step('create data');
      const stored = this.#token.distort(value);
      const object = this.#store({ objectClass: 'data', value: stored, sizeBits: 0, attributes: settable(attributes) });
      this.#step('data created');
      return object;
    });
  }

  // --- proving ---

  async prove(domainKey: Handle, items: readonly ProofItem[]): Promise<ProofOutcome[]> {
    this.#alive();
    const key = this.#get(domainKey);
    return items.map((item) => {
      const checks = proofOf(this.#find(item.handle), item, this.#wrappingKeyOf(domainKey, item.attributes) ?? key);
      const failed = checks.some(({ outcome }) => outcome === 'failed');
      return { handle: item.handle, checks, proved: !failed && checks.some(({ outcome }) => outcome === 'proved') };
    });
  }

  async makeVectors(domainKey: Handle, handles: readonly Handle[]): Promise<(readonly Vector[])[]> {
    this.#alive();
    const key = this.#get(domainKey);
    return handles.map((handle) => {
      const object = this.#find(handle);
      return object === undefined ? [] : vectorsOf(key, object);
    });
  }

  async challenge(_domainKey: Handle, handles: readonly Handle[]): Promise<Challenge[]> {
    this.#alive();
    return handles.map((handle) => {
      const object = this.#find(handle);
      return object === undefined ? 'untried' : object.value === undefined ? 'refuses' : 'works';
    });
  }

  /** Simulates the death of the worker. */
  lose(): void {
    this.#isLost = true;
  }

  async close(): Promise<void> {
    this.#isLost = true;
  }

  // --- below ---

  #alive(): void {
    if (this.#isLost) throw new AntipodeError('HSM_WORKER_LOST', 'the session has ended');
  }

  #step(name: string): void {
    try {
      this.#interrupt(name);
    } catch (thrown) {
      this.#isLost = true;
      throw thrown;
    }
  }

  #batch<Item>(items: readonly Item[], make: (item: Item) => StoredObject | Refusal): BatchOutcome {
    this.#alive();
    const handles: Handle[] = [];
    for (const [index, item] of items.entries()) {
      if (this.#token.objects.length >= this.#token.objectsMax)
        return { handles, failure: { index, code: 'HSM_FULL', returnValue: 'CKR_DEVICE_MEMORY' } };
      const made = make(item);
      if ('code' in made) return { handles, failure: { index, ...made } };
      handles.push(this.#handleOf(made));
    }
    return { handles };
  }

  #store(object: StoredObject): StoredObject {
    this.#token.objects.push(object);
    return object;
  }

  #session(value: Uint8Array, attributes: Attributes): Handle {
    const object: StoredObject = { objectClass: 'secret-key', value, sizeBits: value.length * 8, attributes };
    this.#sessionObjects.add(object);
    return this.#handleOf(object);
  }

  #handleOf(object: StoredObject): Handle {
    const known = this.#handles.get(object);
    if (known !== undefined) return known;
    const handle = this.#freeHandle() ?? this.#nextHandle++;
    this.#handles.set(object, handle);
    this.#held.set(handle, object);
    return handle;
  }

  /** A token that gives the handle of a destroyed object to the next one: PKCS#11 does not forbid it. */
  #freeHandle(): Handle | undefined {
    if (!this.#token.reusesHandles) return undefined;
    for (const [handle, object] of this.#held)
      if (!this.#sessionObjects.has(object) && !this.#token.objects.includes(object)) {
        this.#handles.delete(object);
        return handle;
      }
    return undefined;
  }

  /** Undefined when the token object is gone. */
  #find(handle: Handle): StoredObject | undefined {
    const object = this.#held.get(handle);
    return object !== undefined && this.#token.objects.includes(object) ? object : undefined;
  }

  /** Finds session objects too. */
  #get(handle: Handle): StoredObject {
    const object = this.#present(handle);
    if (object === undefined) throw refused('C_GetAttributeValue', 'CKR_KEY_HANDLE_INVALID');
    return object;
  }

  #present(handle: Handle): StoredObject | undefined {
    const object = this.#held.get(handle);
    return object !== undefined && this.#sessionObjects.has(object) ? object : this.#find(handle);
  }

  #byId(objectClass: StoredObject['objectClass'], ckaId: Uint8Array): StoredObject | undefined {
    return this.#token.objects.find(
      (object) => object.objectClass === objectClass && bytesEqual(object.attributes.id ?? new Uint8Array(), ckaId),
    );
  }

  /** The object that a new one would overwrite. */
  #holderOf(objectClass: StoredObject['objectClass'], { id }: Attributes): StoredObject | undefined {
    return this.#token.keepsOnePerId && id !== undefined && id.length > 0 ? this.#byId(objectClass, id) : undefined;
  }

  #observe(object: StoredObject): ObservedObject {
    const { objectClass, keyType, sizeBits, publicHalf, value, hasTemplate } = object;
    const attributes: Attributes = {};
    if (objectClass !== 'other')
      for (const name of attributesOf(objectClass)) {
        const shown = object.attributes[name];
        if (shown !== undefined) setAttribute(attributes, name, shown);
      }
    const parts = [
      objectClass,
      keyType,
      sizeBits,
      hasTemplate,
      value,
      publicHalf,
      ...Object.entries(attributes).flat(),
    ];
    return {
      handle: this.#handleOf(object),
      objectClass,
      ...(keyType === undefined ? {} : { keyType }),
      sizeBits,
      attributes,
      ...(publicHalf === undefined ? {} : { publicHalf }),
      ...(objectClass === 'data' ? { valueBytes: value?.length ?? 0 } : {}),
      ...(hasTemplate === undefined ? {} : { hasTemplate }),
      readDigest: sha256Hex(`${this.#number} ${parts.map(textOf).join()}`),
    };
  }
}

/** Each value has a text of its own, and none begins with that of another. */
function textOf(value: unknown): string {
  const text = value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value);
  return `${typeof value} ${text.length} ${text}`;
}

const P256 = CURVES[0]!;

/** An AES-256 key by RFC 5649. */
const WRAPPED_KEY_BYTES = 40;

const UNWRAPPED: Attributes = { local: false, alwaysSensitive: false, neverExtractable: false };

const refused = (call: string, returnValue: string): AntipodeError =>
  new AntipodeError('HSM_REFUSED', `the HSM answered ${returnValue} to ${call}`, { details: { call, returnValue } });

/** The attributes that a template may have. Dates are lost. */
function settable(attributes: Attributes): Attributes {
  const set: Attributes = {};
  for (const name of ATTRIBUTE_NAMES) {
    const value = attributes[name];
    if (value !== undefined && ATTRIBUTES[name].fate !== 'carried') setAttribute(set, name, value);
  }
  return set;
}

/** Whether an interrupted unwrap left the object without its value. */
export const isHalfMade = ({ objectClass, value }: StoredObject): boolean =>
  isWrapped(objectClass) && value === undefined;
