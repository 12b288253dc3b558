/**
 * The partition's own keys in its token: the identity key, domain keys, and the exchange that brings a domain key here. All
 * are unextractable at rest; what is extractable lives in the session, for the time of one distribution (design section 4).
 */
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import {
  CKA,
  CKK,
  CKM,
  CKO,
  type Cryptoki,
  CryptokiFailure,
  codeOf,
  ecdh,
  type Mechanism,
  mechanism,
  P256_PARAMS,
  type Template,
  ulong,
} from '@antipode/cryptoki';
import { AntipodeError, bytesEqual, sha256 } from '@antipode/runtime';
import { CURVES } from '../../model/curve.ts';
import { receivesFor, signingHalfOf } from '../../model/identity.ts';
import type { Handle } from '../../model/object.ts';
import { barePoint, ecPublicHalf } from '../../model/public-half.ts';
import {
  type DomainKeyEnd,
  type HsmProvider,
  type OwnKey,
  type OwnKeyRecord,
  PROTECTIONS,
  type Protection,
} from '../../provider/provider.ts';
import { findKeyWrapMechanism } from '../self-test.ts';
import { unwrapNarrowed } from './narrowing.ts';
import { findBreaches, findShown, findUnenforced } from './protections.ts';
import {
  generateReceivingKey,
  openCarried,
  readPublicHalf,
  unwrapAsReceiver,
  wrapForReceiver,
} from './receiving-key.ts';
import {
  findOfficerKeys,
  findUnwrapOnly,
  generateOfficerKey,
  isTrusted,
  keepsWrapWithTrusted,
  trustAsOfficer,
} from './trusted-key.ts';

const P256 = CURVES[0]!;

/** The part of the provider (provider.ts) that enrolment needs; what domain keys are used for stands there. */
export class OwnKeys {
  protected readonly cryptoki: Cryptoki;
  protected readonly session: bigint;
  #keyWrap: Mechanism | undefined;
  #unenforced: readonly Protection[] | undefined;
  #keepsWrapWithTrusted: boolean | undefined;

  protected constructor({ cryptoki, session }: { cryptoki: Cryptoki; session: bigint }) {
    this.cryptoki = cryptoki;
    this.session = session;
  }

  async generateIdentity(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array }> {
    const { publicKey, privateKey } = this.cryptoki.generateKeyPair(
      this.session,
      mechanism(CKM.EC_KEY_PAIR_GEN),
      // The journal has the public half. In the token it would tell anybody the id, and be one object more among theirs.
      [
        [CKA.TOKEN, false],
        [CKA.EC_PARAMS, P256_PARAMS],
        [CKA.VERIFY, true],
      ],
      [
        [CKA.LABEL, Buffer.from('antipode identity')],
        [CKA.ID, ckaId],
        [CKA.TOKEN, true],
        [CKA.PRIVATE, true],
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, false],
        [CKA.SIGN, true],
        [CKA.DERIVE, false],
        ...this.#hardened([CKA.COPYABLE, false], [CKA.MODIFIABLE, false]),
      ],
    );
    this.#checkKept({ key: privateKey, kind: 'private', name: 'identity key', made: [privateKey, publicKey] });
    const publicHalf = this.ecPublicHalf(publicKey);
    this.cryptoki.destroy(this.session, publicKey);
    return { publicHalf };
  }

  async findIdentity({
    ckaId,
    publicHalf,
  }: {
    ckaId: Uint8Array;
    publicHalf: Uint8Array;
  }): Promise<OwnKey | undefined> {
    const message = Buffer.concat([Buffer.from('antipode identity check v1\0'), randomBytes(32)]);
    const half = signingHalfOf(publicHalf);
    const key = createPublicKey({ key: Buffer.from(half), format: 'der', type: 'spki' });
    const signs = (handle: Handle): boolean => {
      const signature = this.cryptoki.sign(this.session, mechanism(CKM.ECDSA), handle, sha256(message));
      return verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature);
    };
    // Earlier releases left the public half in the token, and its id readable for anybody.
    const privateKey = this.#onlyOne({ objectClass: CKO.PRIVATE_KEY, ckaId }, signs);
    if (privateKey === undefined) return undefined;
    // Not whatever bears the id: a public key of somebody else would be hidden from every capture.
    const companions = this.cryptoki
      .find(this.session, [
        [CKA.CLASS, CKO.PUBLIC_KEY],
        [CKA.ID, ckaId],
      ])
      .filter((handle) => this.#isHalfOf(handle, half));
    return { handle: privateKey, companions };
  }

  async generateReceivingKey(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array } | undefined> {
    // One that is not held to a template receives nothing safer than the exchange alone.
    if (this.unenforced().length > 0) return undefined;
    const context = { cryptoki: this.cryptoki, session: this.session };
    return generateReceivingKey(context, { ckaId, policy: this.#domainKeyPolicy() });
  }

  async findReceivingKey({
    ckaId,
    identity,
  }: {
    ckaId: Uint8Array;
    identity: Uint8Array;
  }): Promise<{ handle: Handle; publicHalf: Uint8Array } | undefined> {
    const context = { cryptoki: this.cryptoki, session: this.session };
    const halves = new Map<Handle, Uint8Array>();
    const handle = this.#onlyOne({ objectClass: CKO.PRIVATE_KEY, ckaId }, (candidate) => {
      const publicHalf = readPublicHalf(context, candidate);
      if (publicHalf === undefined || !receivesFor(identity, publicHalf)) return false;
      halves.set(candidate, publicHalf);
      return true;
    });
    return handle === undefined ? undefined : { handle, publicHalf: halves.get(handle)! };
  }

  async generateOfficerKey(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array } | undefined> {
    if (this.unenforced().length > 0) return undefined;
    return generateOfficerKey(this.#trialContext(), officerIdOf(ckaId));
  }

  async findOfficerKey({
    ckaId,
    identity,
  }: {
    ckaId: Uint8Array;
    identity: Uint8Array;
  }): Promise<{ handle: Handle; publicHalf: Uint8Array } | undefined> {
    return findOfficerKeys(this.#trialContext(), { ckaId: officerIdOf(ckaId), identity })[0];
  }

  /** Nobody but the user is logged in afterwards, and every handle is void. */
  protected trustWith(
    login: Pick<Parameters<typeof trustAsOfficer>[1], 'serial' | 'flags' | 'config' | 'loginUser'>,
    { identity, officerPinFile, deliveries }: Parameters<HsmProvider['trustKeys']>[0],
  ): Uint8Array[] {
    const officerKey = { ckaId: officerIdOf(identity.ckaId), identity: identity.publicHalf };
    const context = this.#trialContext();
    const keys = trustAsOfficer(context, { officerKey, officerPinFile, deliveries, ...login });
    return keys.map((key) => this.checkTag(key));
  }

  async signAsIdentity(identity: Handle, message: Uint8Array): Promise<Uint8Array> {
    return new Uint8Array(this.cryptoki.sign(this.session, mechanism(CKM.ECDSA), identity, sha256(message)));
  }

  async findDomainKey({ trusted, ...record }: FindDomainKey): Promise<OwnKey | undefined> {
    const handle = this.#findByTag(record);
    if (handle === undefined) return undefined;
    const trustedKey = trusted && this.#findByTag(trusted);
    // What its own journal calls trusted is asked of the token each time, as is whether the token keeps to it.
    const isKept =
      trustedKey !== undefined && isTrusted(this.#trialContext(), trustedKey) && this.#doesKeepWrapWithTrusted();
    return { handle, companions: [], ...(isKept ? { trusted: trustedKey } : {}) };
  }

  #findByTag({ ckaId, checkTag }: OwnKeyRecord): Handle | undefined {
    const handle = this.#onlyOne({ objectClass: CKO.SECRET_KEY, ckaId }, (candidate) =>
      bytesEqual(this.checkTag(candidate), checkTag),
    );
    if (handle !== undefined) this.#addUnenforced(findShown(this.#trialContext(), handle));
    return handle;
  }

  #doesKeepWrapWithTrusted(): boolean {
    this.#keepsWrapWithTrusted ??= keepsWrapWithTrusted(this.#trialContext());
    return this.#keepsWrapWithTrusted;
  }

  /** In one call of the worker: nobody else of this process gets between the proof, the destruction and the second look. */
  async destroyDomainKey(record: OwnKeyRecord): Promise<DomainKeyEnd> {
    const here = (): Handle[] => this.#secretKeysUnder(record.ckaId);
    if (here().length === 0) return 'absent';
    const own = await this.findDomainKey(record);
    if (own === undefined) return 'unproven';
    try {
      this.release(own.handle);
      this.cryptoki.destroy(this.session, own.handle);
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure && codeOf(thrown.returnValue) === 'HSM_REFUSED') return 'kept';
      throw thrown;
    }
    return (await this.findDomainKey(record)) === undefined ? 'destroyed' : 'kept';
  }

  /** Told of an own key that is about to be destroyed. */
  protected release(_handle: Handle): void {}

  async findUnder(ckaIds: readonly Uint8Array[]): Promise<Handle[]> {
    return ckaIds.flatMap((ckaId) => [
      ...this.cryptoki
        .find(this.session, [
          [CKA.TOKEN, true],
          [CKA.ID, ckaId],
        ])
        .filter((handle) => this.#isPrivate(handle)),
      // It is not private, and nothing here names its public half: none is hidden that could ever be captured.
      ...findUnwrapOnly(this.#trialContext(), officerIdOf(ckaId)),
    ]);
  }

  /**
   * The one key under an id that proves itself by use. Other objects may bear the id: one that a session without a login can
   * see may come from anybody, and one that does not prove itself is none of ours. With two that do, neither is taken.
   */
  #onlyOne(
    { objectClass, ckaId }: { objectClass: number; ckaId: Uint8Array },
    provesItself: (handle: Handle) => boolean,
  ): Handle | undefined {
    const [found, ...more] = this.#privateUnder(objectClass, ckaId).filter((handle) => {
      try {
        return provesItself(handle);
      } catch (thrown) {
        if (thrown instanceof CryptokiFailure && codeOf(thrown.returnValue) === 'HSM_REFUSED') return false;
        throw thrown;
      }
    });
    return more.length === 0 ? found : undefined;
  }

  #secretKeysUnder(ckaId: Uint8Array): Handle[] {
    return this.#privateUnder(CKO.SECRET_KEY, ckaId);
  }

  #privateUnder(objectClass: number, ckaId: Uint8Array): Handle[] {
    return this.cryptoki
      .find(this.session, [
        [CKA.CLASS, objectClass],
        [CKA.ID, ckaId],
      ])
      .filter((handle) => this.#isPrivate(handle));
  }

  #isPrivate(handle: Handle): boolean {
    return this.cryptoki.attributes(this.session, handle, [CKA.PRIVATE])?.get(CKA.PRIVATE)?.[0] === 1;
  }

  // --- the domain key exchange ---

  async generateDomainKey(): Promise<Handle> {
    return this.cryptoki.generateKey(this.session, mechanism(CKM.AES_KEY_GEN), [
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [CKA.PRIVATE, true],
      [CKA.SENSITIVE, true],
      [CKA.EXTRACTABLE, true],
      ...NO_USE,
    ]);
  }

  async generateEphemeral(): Promise<{ handle: Handle; point: Uint8Array }> {
    const { publicKey, privateKey } = this.cryptoki.generateKeyPair(
      this.session,
      mechanism(CKM.EC_KEY_PAIR_GEN),
      [
        [CKA.TOKEN, false],
        [CKA.EC_PARAMS, P256_PARAMS],
      ],
      [
        [CKA.TOKEN, false],
        [CKA.PRIVATE, true],
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, false],
        [CKA.SIGN, false],
        [CKA.DERIVE, true],
      ],
    );
    const publicHalf = this.ecPublicHalf(publicKey);
    this.cryptoki.destroy(this.session, publicKey);
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
    return this.cryptoki.deriveKey(this.session, ecdh(peerPoint), ephemeral, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.AES],
      [CKA.VALUE_LEN, 32],
      [CKA.TOKEN, false],
      [CKA.PRIVATE, true],
      [CKA.SENSITIVE, true],
      [CKA.EXTRACTABLE, false],
      [CKA.ENCRYPT, false],
      [CKA.DECRYPT, false],
      [CKA.SIGN, false],
      [CKA.VERIFY, false],
      [CKA.DERIVE, false],
      [CKA.WRAP, use === 'wrap'],
      [CKA.UNWRAP, use === 'unwrap'],
      ...this.#hardened(
        [CKA.ALLOWED_MECHANISMS, ulong(this.wrapMechanism().type)],
        [CKA.COPYABLE, false],
        [CKA.MODIFIABLE, false],
      ),
    ]);
  }

  async wrapDomainKey({
    exchangeKey,
    domainKey,
    receiver,
  }: {
    exchangeKey: Handle;
    domainKey: Handle;
    receiver?: Uint8Array;
  }): Promise<Uint8Array> {
    const context = { cryptoki: this.cryptoki, session: this.session };
    const keyWrap = this.wrapMechanism();
    if (receiver !== undefined)
      return wrapForReceiver(context, { publicHalf: receiver, domainKey, exchangeKey, keyWrap });
    return new Uint8Array(this.cryptoki.wrapKey(this.session, this.wrapMechanism(), exchangeKey, domainKey));
  }

  async installDomainKey({
    exchangeKey,
    blob,
    ckaId,
    label,
    receiver,
  }: {
    exchangeKey: Handle;
    blob: Uint8Array;
    ckaId: Uint8Array;
    label: string;
    receiver?: Handle;
  }): Promise<{ checkTag: Uint8Array }> {
    const names: Template = [
      [CKA.TOKEN, true],
      [CKA.LABEL, Buffer.from(label)],
      [CKA.ID, ckaId],
    ];
    const keyWrap = this.wrapMechanism();
    const handle =
      receiver === undefined
        ? this.#unwrapDomainKey({ exchangeKey, blob }, names)
        : unwrapAsReceiver(
            { cryptoki: this.cryptoki, session: this.session },
            { receiver, exchangeKey, keyWrap, blob, template: [...names, ...this.#domainKeyPolicy()] },
          );
    this.#checkKept({ key: handle, kind: 'secret', name: 'domain key', made: [handle] });
    return { checkTag: this.checkTag(handle) };
  }

  async openTrustedDelivery({ exchangeKey, blob }: { exchangeKey: Handle; blob: Uint8Array }): Promise<Uint8Array> {
    return openCarried(
      { cryptoki: this.cryptoki, session: this.session },
      { exchangeKey, keyWrap: this.wrapMechanism(), blob },
    );
  }

  async forget(handles: readonly Handle[]): Promise<void> {
    for (const handle of handles) this.cryptoki.destroy(this.session, handle);
  }

  #unwrapDomainKey({ exchangeKey, blob }: { exchangeKey: Handle; blob: Uint8Array }, names: Template): Handle {
    const how = { mechanism: this.wrapMechanism(), under: exchangeKey, blob };
    const template = [...names, ...this.#domainKeyPolicy()];
    return unwrapNarrowed({ cryptoki: this.cryptoki, session: this.session }, how, template);
  }

  /** Everything that a domain key must be, wherever it lies and whatever it is called. */
  #domainKeyPolicy(): Template {
    return [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.AES],
      [CKA.PRIVATE, true],
      [CKA.SENSITIVE, true],
      [CKA.EXTRACTABLE, false],
      [CKA.ENCRYPT, false],
      [CKA.DECRYPT, false],
      [CKA.SIGN, false],
      [CKA.VERIFY, false],
      [CKA.DERIVE, false],
      [CKA.WRAP, true],
      [CKA.UNWRAP, true],
      ...this.#hardened(
        [CKA.ALLOWED_MECHANISMS, ulong(this.wrapMechanism().type)],
        [CKA.UNWRAP_TEMPLATE, [[CKA.SENSITIVE, true]]],
        [CKA.COPYABLE, false],
        [CKA.MODIFIABLE, false],
      ),
    ];
  }

  /**
   * Tries the protections of a key of ours as soon as it lies in the token, before anybody relies on it. A key that keeps
   * less than the site has accepted is destroyed. @throws PROTECTION_UNENFORCED
   */
  #checkKept({
    key,
    kind,
    name,
    made,
  }: {
    key: Handle;
    kind: 'secret' | 'private';
    name: string;
    made: readonly Handle[];
  }): void {
    const unenforced = this.unenforced();
    const missing = findBreaches(this.#trialContext(), { key, kind, unenforced });
    if (missing.length === 0) return;
    for (const handle of made) this.cryptoki.destroy(this.session, handle);
    throw new AntipodeError(
      'PROTECTION_UNENFORCED',
      `the ${name} that was just made lacks these protections: ${missing.join(', ')}; it has been destroyed`,
      { details: { unenforced: missing.join(',') } },
    );
  }

  /** What was installed by a release that looked less closely is told of too. */
  #addUnenforced(missing: readonly Protection[]): void {
    const known = this.unenforced();
    this.#unenforced = PROTECTIONS.filter((one) => known.includes(one) || missing.includes(one));
  }

  #trialContext() {
    return { cryptoki: this.cryptoki, session: this.session, keyWrap: this.wrapMechanism() };
  }

  /**
   * Brings a domain key from a sender to a receiver by the very templates of an exchange, both in this session, and
   * leaves `work` with it. What it does not keep, a real one would not keep either. @throws CryptokiFailure
   */
  protected async rehearseExchange(work: (domainKey: Handle) => Promise<void>): Promise<void> {
    const session: Handle[] = [];
    const keep = (handle: Handle): Handle => {
      session.push(handle);
      return handle;
    };
    try {
      const [sender, receiver] = [await this.generateEphemeral(), await this.generateEphemeral()];
      keep(sender.handle);
      keep(receiver.handle);
      const derive = (ours: Handle, peerPoint: Uint8Array, use: 'wrap' | 'unwrap') =>
        this.deriveExchangeKey({ ephemeral: ours, peerPoint, use });
      const wrapping = keep(await derive(sender.handle, receiver.point, 'wrap'));
      const unwrapping = keep(await derive(receiver.handle, sender.point, 'unwrap'));
      const born = keep(await this.generateDomainKey());
      const blob = await this.wrapDomainKey({ exchangeKey: wrapping, domainKey: born });
      const installed = keep(this.#unwrapDomainKey({ exchangeKey: unwrapping, blob }, [[CKA.TOKEN, false]]));
      const unenforced = this.unenforced();
      const missing = findBreaches(this.#trialContext(), { key: installed, kind: 'secret', unenforced });
      this.#addUnenforced(missing);
      await work(installed);
    } finally {
      await this.forget(session);
    }
  }

  /** RFC 5649, by the number that a self-test found. @throws MECHANISM_MISSING */
  protected wrapMechanism(): Mechanism {
    this.#keyWrap ??= mechanism(findKeyWrapMechanism(this.cryptoki, this.session));
    return this.#keyWrap;
  }

  /** What the token does not keep. @throws MECHANISM_MISSING */
  protected unenforced(): readonly Protection[] {
    this.#unenforced ??= findUnenforced(this.#trialContext());
    return this.#unenforced;
  }

  /**
   * Those of the attributes that the token keeps. Any other would be refused, or pretend: NSS softokn stores the addresses
   * inside an unwrap template in its database.
   */
  #hardened(...attributes: Template): Template {
    const idle = new Set(this.unenforced().map((protection) => HARDENING[protection]));
    return attributes.filter(([type]) => !idle.has(type));
  }

  /**
   * Names a domain key without telling it: SHA-256 of a constant wrapped under it. Wrapping by RFC 5649 is
   * deterministic and a pseudo-random permutation, so equal tags mean equal keys, and the tag does not lead back.
   */
  protected checkTag(domainKey: Handle): Uint8Array {
    return this.tagOf(domainKey, Buffer.from('antipode domain key check v1'));
  }

  /** SHA-256 of (SHA-256 of the value, wrapped): only holders of the domain key can test a guess at the value. */
  protected tagOf(domainKey: Handle, value: Uint8Array): Uint8Array {
    const digest = this.cryptoki.create(this.session, [
      [CKA.CLASS, CKO.SECRET_KEY],
      [CKA.KEY_TYPE, CKK.GENERIC_SECRET],
      [CKA.TOKEN, false],
      [CKA.EXTRACTABLE, true],
      [CKA.VALUE, sha256(value)],
    ]);
    try {
      return sha256(this.cryptoki.wrapKey(this.session, this.wrapMechanism(), domainKey, digest));
    } finally {
      this.cryptoki.destroy(this.session, digest);
    }
  }

  #isHalfOf(publicKey: Handle, publicHalf: Uint8Array): boolean {
    const encoded = this.cryptoki.attributes(this.session, publicKey, [CKA.EC_POINT])?.get(CKA.EC_POINT);
    const point = encoded && barePoint(P256, encoded);
    return point !== undefined && bytesEqual(ecPublicHalf(P256, point), publicHalf);
  }

  protected ecPublicHalf(publicKey: Handle): Uint8Array {
    const encoded = this.cryptoki.attributes(this.session, publicKey, [CKA.EC_POINT])?.get(CKA.EC_POINT);
    const point = encoded && barePoint(P256, encoded);
    if (point === undefined)
      throw new AntipodeError('HSM_REFUSED', 'the token shows no point for a key that it just made', {
        details: { call: 'C_GetAttributeValue' },
      });
    return new Uint8Array(ecPublicHalf(P256, point));
  }
}

type FindDomainKey = Parameters<HsmProvider['findDomainKey']>[0];

/** Another one than that of the private keys: anybody can read it. */
const officerIdOf = (ckaId: Uint8Array): Uint8Array =>
  sha256(Buffer.concat([Buffer.from('antipode officer key v1\0'), ckaId])).slice(0, 16);

/** Attributes that are given for a protection alone. */
const HARDENING: Partial<Record<Protection, number>> = {
  modifiable: CKA.MODIFIABLE,
  copyable: CKA.COPYABLE,
  'allowed-mechanisms': CKA.ALLOWED_MECHANISMS,
  'unwrap-template': CKA.UNWRAP_TEMPLATE,
};

const NO_USE: Template = [CKA.ENCRYPT, CKA.DECRYPT, CKA.SIGN, CKA.VERIFY, CKA.DERIVE, CKA.WRAP, CKA.UNWRAP].map(
  (flag) => [flag, false] as const,
);
