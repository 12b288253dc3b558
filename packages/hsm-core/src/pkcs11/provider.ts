/**
 * The provider of one PKCS#11 partition. Runs inside the worker process (worker/main.ts) and is the only code that touches key
 * material; nothing of it leaves in the clear (I5). Implements HsmProvider; upholds its contract on batches.
 */
import { randomBytes } from 'node:crypto';
import {
  aesGcm,
  CKA,
  CKK,
  CKM,
  CKO,
  CryptokiFailure,
  mechanism,
  NOT_WRAPPED,
  P256_PARAMS,
  returnValueOf,
  SessionFailure,
  type Template,
  type TokenInfo,
  translate,
} from '@antipode/cryptoki';
import { AntipodeError, systemClock } from '@antipode/runtime';
import { ATTRIBUTES, type Attributes, USES } from '../model/attributes.ts';
import type { Handle, ObservedObject } from '../model/object.ts';
import { LookLog } from '../provider/look-log.ts';
import type {
  BatchOutcome,
  Challenge,
  CreateItem,
  HsmProvider,
  Look,
  OwnKey,
  PartitionDescription,
  ProofItem,
  ProofOutcome,
  Protection,
  SealedData,
  UnwrapItem,
  WrapOutcome,
} from '../provider/provider.ts';
import { keepsOnePerId, Maker, NotMade, openingBlob } from './maker.ts';
import { unwrapNarrowed } from './own-keys/narrowing.ts';
import { OwnKeys } from './own-keys/own-keys.ts';
import { challenge } from './proving/challenge.ts';
import { type ProveContext, prove } from './proving/prove.ts';
import { findPublicHalf, PublicKeys } from './reading/find-public-half.ts';
import { ObjectReader } from './reading/object-reader.ts';
import { templateOf } from './reading/objects.ts';
import { namingLacks } from './self-test.ts';
import { type OpenSession, openSession, type PartitionConfig, type SlotSearch } from './session/session.ts';
import { SessionProbe } from './session/session-probe.ts';

/** Tighter scans made key generation of other processes fail, and showed their half-made keys (facts: pkcs11, 8). */
export const SCAN_GAP_MS = 250;

export class Pkcs11Provider extends OwnKeys implements HsmProvider {
  readonly #token: TokenInfo;
  readonly #silentSlots: readonly string[];
  readonly #loginForUse: OpenSession['loginForUse'];
  readonly #officerLogin: Parameters<OwnKeys['trustWith']>[0];
  /** By domain key, the key that wraps in its place what only a trusted key may wrap. */
  readonly #trusted = new Map<Handle, Handle>();
  readonly #freeSlots: number;
  readonly #objects: ObjectReader;
  readonly #maker: Maker;
  /** Public halves that had to be found by use, each with what was read under the handle; absent until it is read next. */
  readonly #publicHalves = new Map<Handle, { readonly publicHalf: Uint8Array; readonly readDigest?: string }>();
  #isReusing: boolean | undefined;
  readonly #looks = new LookLog();
  readonly #probe: SessionProbe;
  #lastLookMs = Number.NEGATIVE_INFINITY;

  private constructor(
    { cryptoki, session, token, silentSlots, freeSlots, loginForUse, loginAgain, flags }: OpenSession,
    config: PartitionConfig,
  ) {
    const { vendorAttributes = [] } = config;
    super({ cryptoki, session });
    this.#token = token;
    this.#silentSlots = silentSlots;
    this.#loginForUse = loginForUse;
    this.#officerLogin = { serial: token.serial, flags, config, loginUser: loginAgain };
    this.#freeSlots = freeSlots;
    this.#probe = new SessionProbe({ cryptoki, session });
    this.#objects = new ObjectReader({ cryptoki, session, digestKey: randomBytes(32), vendorAttributes });
    this.#maker = new Maker({ cryptoki, session, objects: this.#objects, keepsOnePerId: keepsOnePerId(token) });
  }

  /** @throws PROTECTION_UNENFORCED, and what {@link openSession} throws */
  static async open(config: PartitionConfig, search?: SlotSearch): Promise<Pkcs11Provider> {
    const provider = new Pkcs11Provider(await openSession(config, search), config);
    try {
      provider.#checkProtections(config.acceptUnenforced ?? []);
      await provider.#rehearse();
      // A key made by the real templates may keep less.
      provider.#checkProtections(config.acceptUnenforced ?? []);
      return provider;
    } catch (thrown) {
      const error = translate(thrown);
      const named = await Promise.resolve()
        .then(() => namingLacks(error, provider.cryptoki, provider.session))
        .catch(() => error);
      await provider.close();
      throw named;
    }
  }

  /**
   * Runs what enrolment, capture and apply will ask of the token, by their very templates, with throw-away session keys: a
   * partition that cannot do it is told now, and not at its first failover. Private keys count only where the token gives them.
   */
  async #rehearse(): Promise<void> {
    await this.rehearseExchange(async (domainKey) => {
      for (const { item, handle } of this.#throwAways(domainKey)) {
        const made: Handle[] = [handle];
        try {
          made.push(this.#maker.unwrap(this.wrapMechanism(), domainKey, item, { isToken: false }));
        } catch (thrown) {
          if (!(thrown instanceof NotMade)) throw thrown;
          throw new AntipodeError('HSM_REFUSED', `the token does not restore a key of type ${item.keyType} correctly`, {
            details: { call: 'C_UnwrapKey', keyType: item.keyType, returnValue: thrown.why.returnValue ?? 'none' },
            cause: thrown,
          });
        } finally {
          await this.forget(made);
        }
      }
    });
  }

  /** Keys as applications make them, and what an apply would be given of them. @throws CryptokiFailure */
  *#throwAways(domainKey: Handle): Generator<{ item: UnwrapItem; handle: Handle }> {
    const [cryptoki, session] = [this.cryptoki, this.session];
    const blobOf = (handle: Handle): Uint8Array =>
      new Uint8Array(cryptoki.wrapKey(session, this.wrapMechanism(), domainKey, handle));
    const lasting: Template = [
      [CKA.PRIVATE, true],
      [CKA.SENSITIVE, true],
      [CKA.EXTRACTABLE, true],
    ];
    const common = { private: true, sensitive: true, extractable: true };
    const aes = cryptoki.generateKey(session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      ...lasting,
    ]);
    const attributes = { ...common, encrypt: true, decrypt: true };
    yield { handle: aes, item: { objectClass: 'secret-key', keyType: 'aes', attributes, blob: blobOf(aes) } };

    const { publicKey, privateKey } = cryptoki.generateKeyPair(
      session,
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.EC_PARAMS, P256_PARAMS],
      ],
      [[CKA.TOKEN, false], ...lasting, [CKA.SIGN, true]],
    );
    const publicHalf = this.ecPublicHalf(publicKey);
    cryptoki.destroy(session, publicKey);
    let blob: Uint8Array;
    try {
      blob = blobOf(privateKey);
    } catch (thrown) {
      cryptoki.destroy(session, privateKey);
      if (thrown instanceof CryptokiFailure) return;
      throw thrown;
    }
    const keyType = 'ec' as const;
    yield {
      handle: privateKey,
      item: { objectClass: 'private-key', keyType, publicHalf, attributes: { ...common, sign: true }, blob },
    };
  }

  /** Whoever holds the PIN of one weak member could hold the domain key of the whole group: its site must have said yes. */
  #checkProtections(accepted: readonly Protection[]): void {
    const missing = this.unenforced().filter((protection) => !accepted.includes(protection));
    if (missing.length === 0) return;
    throw new AntipodeError(
      'PROTECTION_UNENFORCED',
      `the token does not enforce these protections of keys: ${missing.join(', ')}`,
      { details: { serial: this.#token.serial, unenforced: missing.join(',') } },
    );
  }

  override async findIdentity(record: { ckaId: Uint8Array; publicHalf: Uint8Array }): Promise<OwnKey | undefined> {
    return this.#keepOwn(await super.findIdentity(record));
  }

  override async findDomainKey(record: Parameters<HsmProvider['findDomainKey']>[0]): Promise<OwnKey | undefined> {
    const found = this.#keepOwn(await super.findDomainKey(record));
    if (found?.trusted !== undefined) this.#trusted.set(found.handle, found.trusted);
    else if (found !== undefined) this.#trusted.delete(found.handle);
    return found;
  }

  async trustKeys(options: Parameters<HsmProvider['trustKeys']>[0]): Promise<Uint8Array[]> {
    // What the session probe knows is void while another is logged in.
    this.cryptoki.watch(() => true);
    return this.trustWith(this.#officerLogin, options);
  }

  /** The key under which a key with these attributes is wrapped; undefined where it needs a trusted key and there is none. */
  #wrappingKeyOf(domainKey: Handle, { wrapWithTrusted }: Attributes): Handle | undefined {
    return wrapWithTrusted === true ? this.#trusted.get(domainKey) : domainKey;
  }

  protected override release(handle: Handle): void {
    this.#probe.release(handle);
    this.#forget(handle);
  }

  #keepOwn(found: OwnKey | undefined): OwnKey | undefined {
    if (found !== undefined) this.#probe.keep(found.handle);
    return found;
  }

  async describe(): Promise<PartitionDescription> {
    this.wrapMechanism();
    const { serial, label, manufacturer, model, firmware } = this.#token;
    const said = { serial, label, manufacturer, model, firmware, unenforced: this.unenforced() };
    const described = { ...said, silentSlots: this.#silentSlots, freeSlots: this.#freeSlots };
    return this.#reusesHandles() ? { ...described, reusesHandles: true } : described;
  }

  async look({ since, handles }: { since?: number; handles?: readonly Handle[] }): Promise<Look> {
    const restMs = SCAN_GAP_MS - (systemClock.monotonicMs() - this.#lastLookMs);
    if (restMs > 0) await systemClock.sleep(restMs);
    const number = this.#looks.begin();
    const present: Handle[] = [];
    const objects: ObservedObject[] = [];
    for (const handle of handles ?? this.cryptoki.find(this.session, [[CKA.TOKEN, true]])) {
      const readDigest = this.#objects.readDigest(handle);
      if (readDigest === undefined) {
        this.#forget(handle);
        continue;
      }
      present.push(handle);
      const hasChanged = this.#looks.hasChanged(handle, readDigest, since);
      if (!hasChanged && !this.#reusesHandles()) continue;
      const object = this.#objects.describe();
      if (hasChanged || isMute(object)) objects.push(object);
    }
    if (handles === undefined) for (const handle of this.#looks.endWhole()) this.#forget(handle);
    // Finding public halves by use is no scan, and may go on while the next look waits.
    this.#lastLookMs = systemClock.monotonicMs();
    return { number, handles: BigUint64Array.from(present), objects: this.#withPublicHalves(objects) };
  }

  async inventory(): Promise<ObservedObject[]> {
    return [...(await this.look({})).objects];
  }

  async read(
    handles: readonly Handle[],
    publicHalves: readonly (Uint8Array | undefined)[] = [],
  ): Promise<(ObservedObject | undefined)[]> {
    const objects = handles.map((handle) => this.#objects.read(handle));
    return this.#withPublicHalves(objects, publicHalves);
  }

  async destroy(handles: readonly Handle[], readDigests: readonly (string | undefined)[] = []): Promise<Handle[]> {
    return handles.filter((handle, index) => {
      const expected = readDigests[index];
      if (expected !== undefined) {
        const found = this.#objects.readDigest(handle);
        if (found !== expected) return found !== undefined;
      }
      try {
        this.#probe.release(handle);
        this.cryptoki.destroy(this.session, handle);
        this.#forget(handle);
        return false;
      } catch (thrown) {
        // Whatever the token says of one object, it holds up no other.
        if (thrown instanceof CryptokiFailure) return true;
        throw thrown;
      }
    });
  }

  async hide(handles: readonly Handle[], readDigests: readonly string[]): Promise<Handle[]> {
    return handles.filter((handle, index) => {
      const object = this.#objects.read(handle);
      if (object === undefined) return false;
      if (object.readDigest !== readDigests[index]) return true;
      return !this.#hide(object);
    });
  }

  /** One template where the token takes it whole; else the names, which matter most, and then each use by itself. */
  #hide({ handle, objectClass, attributes }: ObservedObject): boolean {
    if (objectClass === 'other') return false;
    const tag = randomBytes(8).toString('hex');
    const names: [number, Buffer][] = [[CKA.LABEL, Buffer.from(`antipode hidden ${tag}`)]];
    if (attributes.id !== undefined) names.push([CKA.ID, randomBytes(16)]);
    const uses = USES.filter((use) => attributes[use] === true).map((use) => [ATTRIBUTES[use].type, false] as const);
    const set = (template: Template): boolean => {
      try {
        this.cryptoki.setAttributes(this.session, handle, template);
        return true;
      } catch (thrown) {
        if (!(thrown instanceof CryptokiFailure)) throw thrown;
        return false;
      }
    };
    try {
      if (set([...names, ...uses])) return true;
      const isHidden = set(names);
      for (const use of uses) set([use]);
      return isHidden;
    } finally {
      this.#forget(handle);
    }
  }

  // --- sealing ---

  async wrap(domainKey: Handle, handles: readonly Handle[]): Promise<WrapOutcome[]> {
    const wrapUnder = (key: Handle, handle: Handle): WrapOutcome => {
      try {
        return { handle, blob: new Uint8Array(this.cryptoki.wrapKey(this.session, this.wrapMechanism(), key, handle)) };
      } catch (thrown) {
        const returnValue = returnValueOf(thrown);
        return { handle, reason: NOT_WRAPPED[returnValue] ?? 'unreadable', returnValue };
      }
    };
    const outcomes = handles.map((handle): WrapOutcome => {
      if (!this.#maySend(handle)) return { handle, reason: 'unextractable' };
      const outcome = wrapUnder(domainKey, handle);
      if ('blob' in outcome || !this.#wantsTrusted(handle)) return outcome;
      const trusted = this.#trusted.get(domainKey);
      return trusted === undefined ? { ...outcome, reason: 'wrap-with-trusted' } : wrapUnder(trusted, handle);
    });
    if (outcomes.some((outcome) => 'reason' in outcome && outcome.reason === 'unreadable')) this.#checkWraps(domainKey);
    return outcomes;
  }

  #wantsTrusted(handle: Handle): boolean {
    return (
      this.cryptoki.attributes(this.session, handle, [CKA.WRAP_WITH_TRUSTED])?.get(CKA.WRAP_WITH_TRUSTED)?.[0] === 1
    );
  }

  /** What is not extractable stays where it is, also on a token that would give it. */
  #maySend(handle: Handle): boolean {
    if (!this.unenforced().includes('extractable')) return true;
    return this.cryptoki.attributes(this.session, handle, [CKA.EXTRACTABLE])?.get(CKA.EXTRACTABLE)?.[0] !== 0;
  }

  /** A refusal that does not say what it is about may be about the domain key: then it says nothing of the others. */
  #checkWraps(domainKey: Handle): void {
    try {
      this.checkTag(domainKey);
    } catch (thrown) {
      const returnValue = returnValueOf(thrown);
      throw new AntipodeError('HSM_SESSION_VOID', `the domain key no longer wraps (${returnValue})`, {
        details: { call: 'C_WrapKey', returnValue },
        cause: thrown,
      });
    }
  }

  async generateDataKey(domainKey: Handle): Promise<{ handle: Handle; blob: Uint8Array }> {
    const handle = this.cryptoki.generateKey(this.session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [CKA.PRIVATE, true],
      [CKA.SENSITIVE, true],
      [CKA.EXTRACTABLE, true],
      [CKA.ENCRYPT, true],
      [CKA.DECRYPT, false],
      [CKA.WRAP, false],
      [CKA.UNWRAP, false],
    ]);
    return {
      handle,
      blob: new Uint8Array(this.cryptoki.wrapKey(this.session, this.wrapMechanism(), domainKey, handle)),
    };
  }

  async sealData(options: {
    domainKey: Handle;
    dataKey: Handle;
    items: readonly { handle: Handle; aad: Uint8Array }[];
  }): Promise<SealedData[]> {
    return options.items.map(({ handle, aad }) => {
      const value = this.#dataValue(handle);
      if (value === undefined)
        throw new AntipodeError('HSM_REFUSED', 'the value of a data object cannot be read', {
          details: { call: 'C_GetAttributeValue' },
        });
      const iv = randomBytes(GCM_IV_BYTES);
      const sealed = this.cryptoki.encrypt(this.session, aesGcm(iv, aad), options.dataKey, value);
      return {
        ciphertext: new Uint8Array(Buffer.concat([iv, sealed])),
        valueTag: this.tagOf(options.domainKey, value),
      };
    });
  }

  async tagData(domainKey: Handle, handles: readonly Handle[]): Promise<Uint8Array[]> {
    return handles.map((handle) => this.tagOf(domainKey, this.#dataValue(handle) ?? new Uint8Array()));
  }

  async tagBytes(domainKey: Handle, values: readonly Uint8Array[]): Promise<Uint8Array[]> {
    return values.map((value) => this.tagOf(domainKey, value));
  }

  // --- unsealing ---

  async unwrap(domainKey: Handle, items: readonly UnwrapItem[]): Promise<BatchOutcome> {
    const how = this.wrapMechanism();
    return this.#batch(items, (item) => {
      const key = this.#wrappingKeyOf(domainKey, item.attributes);
      if (key === undefined) throw new NotMade({ code: 'DOMAIN_KEY_UNTRUSTED' });
      return this.#maker.unwrap(how, key, item);
    });
  }

  async create(items: readonly CreateItem[]): Promise<BatchOutcome> {
    return this.#batch(items, (item) => this.#maker.create(item));
  }

  async unwrapDataKey(domainKey: Handle, blob: Uint8Array): Promise<Handle> {
    try {
      const how = { mechanism: this.wrapMechanism(), under: domainKey, blob };
      return unwrapNarrowed({ cryptoki: this.cryptoki, session: this.session }, how, [
        [CKA.CLASS, CKO.SECRET_KEY],
        [CKA.KEY_TYPE, CKK.AES],
        [CKA.TOKEN, false],
        [CKA.PRIVATE, true],
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, false],
        [CKA.ENCRYPT, false],
        [CKA.DECRYPT, true],
        [CKA.WRAP, false],
        [CKA.UNWRAP, false],
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
        return this.#maker.persist([[CKA.CLASS, CKO.DATA], [CKA.VALUE, value], ...templateOf('data', attributes)]);
      } finally {
        value.fill(0);
      }
    });
  }

  // --- proving ---

  async prove(domainKey: Handle, items: readonly ProofItem[]): Promise<ProofOutcome[]> {
    return items.map((item) => {
      // Without a trusted key the domain key shows that it cannot wrap it: what is not proved is not called proved.
      const context = this.#proveContext(this.#wrappingKeyOf(domainKey, item.attributes) ?? domainKey);
      const outcome = prove(context, item);
      const hasShownHalf = outcome.checks.some(
        ({ use, outcome: how }) => how === 'proved' && (use === 'sign' || use === 'derive'),
      );
      // Its own use has borne it out: reading the key back needs no second one. Where handles are used again, the next read
      // may be of another key.
      if (item.objectClass === 'private-key' && item.publicHalf !== undefined && hasShownHalf && !this.#reusesHandles())
        this.#publicHalves.set(item.handle, { publicHalf: item.publicHalf });
      return outcome;
    });
  }

  async challenge(domainKey: Handle, handles: readonly Handle[]): Promise<Challenge[]> {
    const context = this.#proveContext(domainKey);
    return handles.map((handle) => challenge(context, handle));
  }

  #proveContext(domainKey: Handle): ProveContext {
    return {
      cryptoki: this.cryptoki,
      session: this.session,
      objects: this.#objects,
      keyWrap: this.wrapMechanism(),
      domainKey,
      loginForUse: this.#loginForUse,
      tagData: (handle) => {
        const value = this.#dataValue(handle);
        return value && this.tagOf(domainKey, value);
      },
    };
  }

  async close(): Promise<void> {
    this.cryptoki.tryCall('C_Logout', this.session);
    this.cryptoki.tryCall('C_CloseSession', this.session);
    this.cryptoki.finalize();
  }

  #withPublicHalves<One extends ObservedObject | undefined>(
    objects: readonly One[],
    expected: readonly (Uint8Array | undefined)[] = [],
  ): One[] {
    const publicKeys = new PublicKeys(objects.filter((object) => object !== undefined));
    return objects.map((object, index) => {
      if (object?.objectClass !== 'private-key' || object.keyType !== 'ec' || object.publicHalf !== undefined)
        return object;
      const { cryptoki, session } = this;
      const { handle, readDigest } = object;
      const publicHalf =
        this.#knownHalf(object) ??
        findPublicHalf({ cryptoki, session }, object, { publicKeys, expected: expected[index] });
      if (publicHalf === undefined) return object;
      this.#publicHalves.set(handle, { publicHalf, readDigest });
      return { ...object, publicHalf };
    });
  }

  /** Of the same object only: a handle may have come to mean another. */
  #knownHalf({ handle, readDigest }: ObservedObject): Uint8Array | undefined {
    const known = this.#publicHalves.get(handle);
    if (known === undefined || this.#reusesHandles()) return undefined;
    if ((known.readDigest ?? readDigest) === readDigest) return known.publicHalf;
    this.#publicHalves.delete(handle);
    return undefined;
  }

  /** Whether the device gives the handle of a destroyed object to the next one: tried once, with two session objects. */
  #reusesHandles(): boolean {
    if (this.#isReusing !== undefined) return this.#isReusing;
    const draft: Template = [
      [CKA.CLASS, CKO.DATA],
      [CKA.TOKEN, false],
      [CKA.PRIVATE, false],
      [CKA.VALUE, Buffer.from('antipode')],
    ];
    try {
      const [first, second] = [0, 1].map(() => {
        const handle = this.cryptoki.create(this.session, draft);
        this.cryptoki.destroy(this.session, handle);
        return handle;
      });
      this.#isReusing = first === second;
    } catch (thrown) {
      // A token that makes no such object cannot be asked: nothing is taken for granted there.
      if (!(thrown instanceof CryptokiFailure)) throw thrown;
      this.#isReusing = true;
    }
    return this.#isReusing;
  }

  #forget(handle: Handle): void {
    this.#looks.forget(handle);
    this.#objects.forget(handle);
    this.#publicHalves.delete(handle);
  }

  #dataValue(handle: Handle): Buffer | undefined {
    return this.cryptoki.attributes(this.session, handle, [CKA.VALUE])?.get(CKA.VALUE);
  }

  #decryptData(dataKey: Handle, ciphertext: Uint8Array, aad: Uint8Array): Buffer {
    const [iv, sealed] = [ciphertext.subarray(0, GCM_IV_BYTES), ciphertext.subarray(GCM_IV_BYTES)];
    return openingBlob(() => this.cryptoki.decrypt(this.session, aesGcm(iv, aad), dataKey, sealed));
  }

  #batch<Item>(items: readonly Item[], make: (item: Item) => Handle): BatchOutcome {
    const handles: Handle[] = [];
    for (const [index, item] of items.entries()) {
      try {
        handles.push(make(item));
      } catch (thrown) {
        if (thrown instanceof NotMade) return { handles, failure: { index, ...thrown.why } };
        if (thrown instanceof CryptokiFailure)
          return { handles, failure: { index, code: 'HSM_REFUSED', returnValue: thrown.returnValue } };
        if (!(thrown instanceof SessionFailure)) throw thrown;
        // What was made before it is there all the same.
        const { code, details } = translate(thrown);
        if (code !== 'HSM_FULL' && code !== 'HSM_UNAVAILABLE' && code !== 'HSM_SESSION_VOID') throw thrown;
        return { handles, failure: { index, code, returnValue: String(details['returnValue']) } };
      }
    }
    return { handles };
  }
}

/**
 * Whether nothing that is read of an object tells its value: then another one may look just the same. On a device that uses
 * handles again, such an object is told at every look, so that it is examined.
 */
const isMute = ({ objectClass, keyType, attributes }: ObservedObject): boolean =>
  (objectClass === 'secret-key' && !attributes.checkValue?.length) ||
  (objectClass === 'private-key' && keyType !== 'rsa');

const GCM_IV_BYTES = 12;
