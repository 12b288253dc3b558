/**
 * The provider of one PKCS#11 partition. Runs inside the worker process (worker.ts) and is the only code that touches key
 * material; nothing of it leaves in the clear (I5). Implements HsmProvider; upholds its contract on batches.
 */
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { AntipodeError, bytesEqual, sha256, systemClock } from '@antipode/runtime';
import type { Attributes } from '../model/attributes.ts';
import type { Handle, ObservedObject } from '../model/object.ts';
import { barePoint, CURVES, ecPublicHalf } from '../model/public-half.ts';
import type {
  BatchOutcome,
  Challenge,
  CreateItem,
  HsmProvider,
  OwnKey,
  PartitionDescription,
  ProofItem,
  ProofOutcome,
  SealedData,
  UnwrapItem,
  WrapOutcome,
} from '../provider.ts';
import { challenge } from './challenge.ts';
import { CKA, CKD_NULL, CKK, CKM, CKO, P256_PARAMS } from './constants.ts';
import {
  type Cryptoki,
  type Mechanism,
  mechanism,
  structure,
  type Template,
  type TokenInfo,
  ulong,
} from './cryptoki.ts';
import { findPublicHalf } from './find-public-half.ts';
import { classNumber, dataValueOf, keyTypeNumber, type ReadContext, readObject, templateOf } from './objects.ts';
import { type ProveContext, prove } from './prove.ts';
import { CryptokiFailure, codeOf, returnValueOf, translate } from './return-values.ts';
import { findKeyWrapMechanism } from './self-test.ts';
import { openSession, type PartitionConfig } from './session.ts';

/** Tighter scans made key generation of other processes fail, and showed their half-made keys (facts: pkcs11, 8). */
export const SCAN_GAP_MS = 250;

const P256 = CURVES[0]!;
const [LABEL, ID, PRIVATE, SENSITIVE, EXTRACTABLE, MODIFIABLE, COPYABLE] = [
  0x003, 0x102, 0x002, 0x103, 0x162, 0x170, 0x171,
];
const [ENCRYPT, DECRYPT, WRAP, UNWRAP, SIGN, VERIFY, DERIVE] = [0x104, 0x105, 0x106, 0x107, 0x108, 0x10a, 0x10c];
const ALLOWED_MECHANISMS = 0x40000600;

export class Pkcs11Provider implements HsmProvider {
  readonly #cryptoki: Cryptoki;
  readonly #session: bigint;
  readonly #token: TokenInfo;
  readonly #reads: ReadContext;
  /** Public halves that had to be found by use: an object's value never changes under its handle. */
  readonly #publicHalves = new Map<Handle, Uint8Array>();
  #keyWrap: Mechanism | undefined;
  #lastScanMs = Number.NEGATIVE_INFINITY;

  private constructor({ cryptoki, session, token }: { cryptoki: Cryptoki; session: bigint; token: TokenInfo }) {
    this.#cryptoki = cryptoki;
    this.#session = session;
    this.#token = token;
    this.#reads = { cryptoki, session, digestKey: randomBytes(32) };
  }

  static async open(config: PartitionConfig): Promise<Pkcs11Provider> {
    return new Pkcs11Provider(await openSession(config));
  }

  async describe(): Promise<PartitionDescription> {
    this.#wrapMechanism();
    const { serial, label, manufacturer, model, firmware } = this.#token;
    return { serial, label, manufacturer, model, firmware };
  }

  async inventory(): Promise<ObservedObject[]> {
    const sinceMs = systemClock.monotonicMs() - this.#lastScanMs;
    if (sinceMs < SCAN_GAP_MS) await systemClock.sleep(SCAN_GAP_MS - sinceMs);
    const handles = this.#cryptoki.find(this.#session, [[CKA.TOKEN, true]]);
    const objects = this.#readAll(handles).filter((object) => object !== undefined);
    this.#lastScanMs = systemClock.monotonicMs();
    return objects;
  }

  async read(handles: readonly Handle[]): Promise<(ObservedObject | undefined)[]> {
    return this.#readAll(handles);
  }

  async destroy(handles: readonly Handle[]): Promise<Handle[]> {
    return handles.filter((handle) => {
      try {
        this.#cryptoki.destroy(this.#session, handle);
        this.#publicHalves.delete(handle);
        return false;
      } catch (thrown) {
        if (returnValueOf(thrown) === 'CKR_ACTION_PROHIBITED') return true;
        throw thrown;
      }
    });
  }

  // --- the partition's own keys ---

  async generateIdentity(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array }> {
    const common: Template = [
      [LABEL, Buffer.from('antipode identity')],
      [ID, ckaId],
      [CKA.TOKEN, true],
    ];
    const { publicKey } = this.#cryptoki.generateKeyPair(
      this.#session,
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [...common, [CKA.EC_PARAMS, P256_PARAMS], [VERIFY, true]],
      [
        ...common,
        [PRIVATE, true],
        [SENSITIVE, true],
        [EXTRACTABLE, false],
        [SIGN, true],
        [DERIVE, false],
        [COPYABLE, false],
        [MODIFIABLE, false],
      ],
    );
    return { publicHalf: this.#ecPublicHalf(publicKey) };
  }

  async findIdentity({
    ckaId,
    publicHalf,
  }: {
    ckaId: Uint8Array;
    publicHalf: Uint8Array;
  }): Promise<OwnKey | undefined> {
    const [privateKey, ...more] = this.#cryptoki.find(this.#session, [
      [CKA.CLASS, CKO.PRIVATE_KEY],
      [ID, ckaId],
    ]);
    if (privateKey === undefined || more.length > 0) return undefined;
    const message = Buffer.concat([Buffer.from('antipode identity check v1\0'), randomBytes(32)]);
    const signature = await this.signAsIdentity(privateKey, message);
    const key = createPublicKey({ key: Buffer.from(publicHalf), format: 'der', type: 'spki' });
    if (!verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature)) return undefined;
    const companions = this.#cryptoki.find(this.#session, [
      [CKA.CLASS, CKO.PUBLIC_KEY],
      [ID, ckaId],
    ]);
    return { handle: privateKey, companions };
  }

  async signAsIdentity(identity: Handle, message: Uint8Array): Promise<Uint8Array> {
    return new Uint8Array(this.#cryptoki.sign(this.#session, mechanism(CKM.ECDSA), identity, sha256(message)));
  }

  async findDomainKey({ ckaId, checkTag }: { ckaId: Uint8Array; checkTag: Uint8Array }): Promise<OwnKey | undefined> {
    const [handle, ...more] = this.#cryptoki.find(this.#session, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [ID, ckaId],
    ]);
    if (handle === undefined || more.length > 0) return undefined;
    return bytesEqual(this.#checkTag(handle), checkTag) ? { handle, companions: [] } : undefined;
  }

  async findUnder(ckaIds: readonly Uint8Array[]): Promise<Handle[]> {
    return ckaIds.flatMap((ckaId) =>
      this.#cryptoki.find(this.#session, [
        [CKA.TOKEN, true],
        [ID, ckaId],
      ]),
    );
  }

  // --- the domain key exchange ---

  async generateDomainKey(): Promise<Handle> {
    return this.#cryptoki.generateKey(this.#session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [PRIVATE, true],
      [SENSITIVE, true],
      [EXTRACTABLE, true],
      ...NO_USE,
    ]);
  }

  async generateEphemeral(): Promise<{ handle: Handle; point: Uint8Array }> {
    const { publicKey, privateKey } = this.#cryptoki.generateKeyPair(
      this.#session,
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.EC_PARAMS, P256_PARAMS],
      ],
      [
        [CKA.TOKEN, false],
        [PRIVATE, true],
        [SENSITIVE, true],
        [EXTRACTABLE, false],
        [SIGN, false],
        [DERIVE, true],
      ],
    );
    const publicHalf = this.#ecPublicHalf(publicKey);
    this.#cryptoki.destroy(this.#session, publicKey);
    return { handle: privateKey, point: publicHalf.slice(-65) };
  }

  async deriveExchangeKey({
    ephemeral,
    peerPoint,
    use,
  }: {
    ephemeral: Handle;
    peerPoint: Uint8Array;
    use: 'wrap' | 'unwrap';
  }): Promise<Handle> {
    // CKD_NULL: SoftHSM knows no key derivation function. Sound because both points are fresh, signed, and used once.
    const how = structure(CKM.ECDH1_DERIVE, [CKD_NULL, 0, 0, peerPoint.length, { pointer: peerPoint }]);
    return this.#cryptoki.deriveKey(this.#session, how, ephemeral, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.AES],
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [PRIVATE, true],
      [SENSITIVE, true],
      [EXTRACTABLE, false],
      [ENCRYPT, false],
      [DECRYPT, false],
      [SIGN, false],
      [VERIFY, false],
      [DERIVE, false],
      [WRAP, use === 'wrap'],
      [UNWRAP, use === 'unwrap'],
      [ALLOWED_MECHANISMS, ulong(this.#wrapMechanism().type)],
      [COPYABLE, false],
      [MODIFIABLE, false],
    ]);
  }

  async wrapDomainKey({ exchangeKey, domainKey }: { exchangeKey: Handle; domainKey: Handle }): Promise<Uint8Array> {
    return new Uint8Array(this.#cryptoki.wrapKey(this.#session, this.#wrapMechanism(), exchangeKey, domainKey));
  }

  async installDomainKey({
    exchangeKey,
    blob,
    ckaId,
  }: {
    exchangeKey: Handle;
    blob: Uint8Array;
    ckaId: Uint8Array;
  }): Promise<{ checkTag: Uint8Array }> {
    const handle = this.#cryptoki.unwrapKey(this.#session, this.#wrapMechanism(), exchangeKey, blob, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.AES],
      [CKA.TOKEN, true],
      [PRIVATE, true],
      [LABEL, Buffer.from('antipode domain key')],
      [ID, ckaId],
      [SENSITIVE, true],
      [EXTRACTABLE, false],
      [ENCRYPT, false],
      [DECRYPT, false],
      [SIGN, false],
      [VERIFY, false],
      [DERIVE, false],
      [WRAP, true],
      [UNWRAP, true],
      [ALLOWED_MECHANISMS, ulong(this.#wrapMechanism().type)],
      [CKA.UNWRAP_TEMPLATE, [[SENSITIVE, true]]],
      [COPYABLE, false],
      [MODIFIABLE, false],
    ]);
    return { checkTag: this.#checkTag(handle) };
  }

  async forget(handles: readonly Handle[]): Promise<void> {
    for (const handle of handles) this.#cryptoki.destroy(this.#session, handle);
  }

  // --- sealing ---

  async wrap(domainKey: Handle, handles: readonly Handle[]): Promise<WrapOutcome[]> {
    const outcomes = handles.map((handle): WrapOutcome => {
      try {
        return {
          handle,
          blob: new Uint8Array(this.#cryptoki.wrapKey(this.#session, this.#wrapMechanism(), domainKey, handle)),
        };
      } catch (thrown) {
        const returnValue = returnValueOf(thrown);
        if (codeOf(returnValue) !== 'HSM_REFUSED') throw thrown;
        return { handle, reason: WRAP_REFUSALS[returnValue] ?? 'unreadable', returnValue };
      }
    });
    if (outcomes.some((outcome) => 'reason' in outcome && outcome.reason === 'unreadable')) this.#checkWraps(domainKey);
    return outcomes;
  }

  /** A refusal that does not say what it is about may be about the domain key: then it says nothing of the others. */
  #checkWraps(domainKey: Handle): void {
    try {
      this.#checkTag(domainKey);
    } catch (thrown) {
      const returnValue = returnValueOf(thrown);
      throw new AntipodeError('HSM_UNAVAILABLE', `the domain key does not wrap any more (${returnValue})`, {
        details: { call: 'C_WrapKey', returnValue },
        cause: thrown,
      });
    }
  }

  async generateDataKey(domainKey: Handle): Promise<{ handle: Handle; blob: Uint8Array }> {
    const handle = this.#cryptoki.generateKey(this.#session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [PRIVATE, true],
      [SENSITIVE, true],
      [EXTRACTABLE, true],
      [ENCRYPT, true],
      [DECRYPT, false],
      [WRAP, false],
      [UNWRAP, false],
    ]);
    return {
      handle,
      blob: new Uint8Array(this.#cryptoki.wrapKey(this.#session, this.#wrapMechanism(), domainKey, handle)),
    };
  }

  async sealData(options: {
    domainKey: Handle;
    dataKey: Handle;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<SealedData[]> {
    return options.items.map(({ handle, aad }) => {
      const value = dataValueOf(this.#reads, handle);
      if (value === undefined)
        throw new AntipodeError('HSM_REFUSED', 'the value of a data object cannot be read', {
          details: { call: 'C_GetAttributeValue' },
        });
      const iv = randomBytes(GCM_IV_BYTES);
      const sealed = this.#cryptoki.encrypt(this.#session, gcm(iv, aad), options.dataKey, value);
      return {
        ciphertext: new Uint8Array(Buffer.concat([iv, sealed])),
        valueTag: this.#tagOf(options.domainKey, value),
      };
    });
  }

  async tagData(domainKey: Handle, handles: readonly Handle[]): Promise<Uint8Array[]> {
    return handles.map((handle) => this.#tagOf(domainKey, dataValueOf(this.#reads, handle) ?? new Uint8Array()));
  }

  async tagBytes(domainKey: Handle, values: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return values.map((value) => this.#tagOf(domainKey, value));
  }

  // --- unsealing ---

  async unwrap(domainKey: Handle, items: readonly UnwrapItem[]): Promise<BatchOutcome> {
    return this.#batch(items, ({ objectClass, keyType, attributes, blob }) =>
      this.#cryptoki.unwrapKey(this.#session, this.#wrapMechanism(), domainKey, blob, [
        [CKA.CLASS, classNumber(objectClass)],
        [CKA.KEY_TYPE, keyTypeNumber(keyType)],
        [CKA.TOKEN, true],
        // The domain key's CKA_UNWRAP_TEMPLATE demands it; and what is replicated must stay replicable.
        ...templateOf(objectClass, { ...attributes, sensitive: true, extractable: true }),
      ]),
    );
  }

  async create(items: readonly CreateItem[]): Promise<BatchOutcome> {
    return this.#batch(items, ({ objectClass, keyType, attributes }) =>
      this.#cryptoki.create(this.#session, [
        [CKA.CLASS, classNumber(objectClass)],
        ...(keyType === undefined ? [] : [[CKA.KEY_TYPE, keyTypeNumber(keyType)] as const]),
        [CKA.TOKEN, true],
        ...templateOf(objectClass, attributes),
      ]),
    );
  }

  async unwrapDataKey(domainKey: Handle, blob: Uint8Array): Promise<Handle> {
    try {
      return this.#cryptoki.unwrapKey(this.#session, this.#wrapMechanism(), domainKey, blob, [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.TOKEN, false],
        [PRIVATE, true],
        [SENSITIVE, true],
        [EXTRACTABLE, false],
        [ENCRYPT, false],
        [DECRYPT, true],
        [WRAP, false],
        [UNWRAP, false],
      ]);
    } catch (thrown) {
      const returnValue = returnValueOf(thrown);
      throw new AntipodeError('BLOB_INVALID', `the token refused the data key (${returnValue})`, {
        details: { returnValue },
        cause: thrown,
      });
    }
  }

  async createData(options: {
    dataKey: Handle;
    items: readonly { attributes: Attributes; ciphertext: Uint8Array; aad: Uint8Array }[];
  }): Promise<BatchOutcome> {
    return this.#batch(options.items, ({ attributes, ciphertext, aad }) => {
      const value = this.#decryptData(options.dataKey, ciphertext, aad);
      try {
        return this.#cryptoki.create(this.#session, [
          [CKA.CLASS, CKO.DATA],
          [CKA.TOKEN, true],
          [CKA.VALUE, value],
          ...templateOf('data', attributes),
        ]);
      } finally {
        value.fill(0);
      }
    });
  }

  // --- proving ---

  async prove(domainKey: Handle, items: readonly ProofItem[]): Promise<ProofOutcome[]> {
    const context = this.#proveContext(domainKey);
    return items.map((item) => prove(context, item));
  }

  async challenge(domainKey: Handle, handles: readonly Handle[]): Promise<Challenge[]> {
    const context = this.#proveContext(domainKey);
    return handles.map((handle) => challenge(context, handle));
  }

  #proveContext(domainKey: Handle): ProveContext {
    return {
      ...this.#reads,
      keyWrap: this.#wrapMechanism(),
      domainKey,
      tagData: (handle) => {
        const value = dataValueOf(this.#reads, handle);
        return value && this.#tagOf(domainKey, value);
      },
    };
  }

  async close(): Promise<void> {
    this.#cryptoki.tryCall('C_Logout', this.#session);
    this.#cryptoki.tryCall('C_CloseSession', this.#session);
    this.#cryptoki.finalize();
  }

  #readAll(handles: readonly Handle[]): (ObservedObject | undefined)[] {
    const objects = handles.map((handle) => readObject(this.#reads, handle));
    const publicKeys = objects.filter((object) => object?.objectClass === 'public-key') as ObservedObject[];
    return objects.map((object) => {
      if (object?.objectClass !== 'private-key' || object.keyType !== 'ec' || object.publicHalf !== undefined)
        return object;
      const publicHalf = this.#publicHalves.get(object.handle) ?? findPublicHalf(this.#reads, object, publicKeys);
      if (publicHalf === undefined) return object;
      this.#publicHalves.set(object.handle, publicHalf);
      return { ...object, publicHalf };
    });
  }

  #wrapMechanism(): Mechanism {
    this.#keyWrap ??= mechanism(findKeyWrapMechanism(this.#cryptoki, this.#session));
    return this.#keyWrap;
  }

  /**
   * Names a domain key without telling it: SHA-256 of a constant wrapped under it. Wrapping by RFC 5649 is
   * deterministic and a pseudo-random permutation, so equal tags mean equal keys, and the tag does not lead back.
   */
  #checkTag(domainKey: Handle): Uint8Array {
    return this.#tagOf(domainKey, Buffer.from('antipode domain key check v1'));
  }

  /** SHA-256 of (SHA-256 of the value, wrapped): only holders of the domain key can test a guess at the value. */
  #tagOf(domainKey: Handle, value: Uint8Array): Uint8Array {
    const digest = this.#cryptoki.create(this.#session, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
      [CKA.TOKEN, false],
      [EXTRACTABLE, true],
      [CKA.VALUE, sha256(value)],
    ]);
    try {
      return sha256(this.#cryptoki.wrapKey(this.#session, this.#wrapMechanism(), domainKey, digest));
    } finally {
      this.#cryptoki.destroy(this.#session, digest);
    }
  }

  #decryptData(dataKey: Handle, ciphertext: Uint8Array, aad: Uint8Array): Buffer {
    const [iv, sealed] = [ciphertext.subarray(0, GCM_IV_BYTES), ciphertext.subarray(GCM_IV_BYTES)];
    return this.#cryptoki.decrypt(this.#session, gcm(iv, aad), dataKey, sealed);
  }

  #ecPublicHalf(publicKey: Handle): Uint8Array {
    const encoded = this.#cryptoki.attributes(this.#session, publicKey, [CKA.EC_POINT])?.get(CKA.EC_POINT);
    const point = encoded && barePoint(P256, encoded);
    if (point === undefined)
      throw new AntipodeError('HSM_REFUSED', 'the token gives no point for a key that it has just made', {
        details: { call: 'C_GetAttributeValue' },
      });
    return new Uint8Array(ecPublicHalf(P256, point));
  }

  #batch<Item>(items: readonly Item[], make: (item: Item) => Handle): BatchOutcome {
    const handles: Handle[] = [];
    for (const [index, item] of items.entries()) {
      try {
        handles.push(make(item));
      } catch (thrown) {
        if (!(thrown instanceof CryptokiFailure)) throw thrown;
        const { returnValue } = thrown;
        const code = codeOf(returnValue);
        if (code === 'HSM_FULL' || code === 'HSM_UNAVAILABLE')
          return { handles, failure: { index, code, returnValue } };
        if (code !== 'HSM_REFUSED') throw translate(thrown);
        return {
          handles,
          failure: { index, code: BLOB_REFUSALS.has(returnValue) ? 'BLOB_INVALID' : 'HSM_REFUSED', returnValue },
        };
      }
    }
    return { handles };
  }
}

const NO_USE: Template = [ENCRYPT, DECRYPT, SIGN, VERIFY, DERIVE, WRAP, UNWRAP].map((flag) => [flag, false] as const);

const GCM_IV_BYTES = 12;

/** CK_GCM_PARAMS: iv, iv length, iv bits, aad, aad length, tag bits. */
const gcm = (iv: Uint8Array, aad: Uint8Array): Mechanism =>
  structure(CKM.AES_GCM, [{ pointer: iv }, iv.length, iv.length * 8, { pointer: aad }, aad.length, 128]);

/** Refusals to wrap that say something of the key; with any other it cannot be read: half made, or gone. */
const WRAP_REFUSALS: Readonly<Record<string, 'unextractable' | 'not-wrappable'>> = {
  CKR_KEY_UNEXTRACTABLE: 'unextractable',
  CKR_KEY_NOT_WRAPPABLE: 'not-wrappable',
  CKR_KEY_SIZE_RANGE: 'not-wrappable',
};

/** How tokens say that a blob does not open: SoftHSM 2.6.1 with a general error, 2.7 and others by the standard. */
const BLOB_REFUSALS = new Set([
  'CKR_GENERAL_ERROR',
  'CKR_FUNCTION_FAILED',
  'CKR_WRAPPED_KEY_INVALID',
  'CKR_WRAPPED_KEY_LEN_RANGE',
  'CKR_ENCRYPTED_DATA_INVALID',
  'CKR_ENCRYPTED_DATA_LEN_RANGE',
]);
