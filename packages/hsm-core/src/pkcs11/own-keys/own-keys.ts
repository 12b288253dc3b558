/**
 * The partition's own keys in its token: the identity key, the keys under which it receives, and domain keys. All are
 * unextractable at rest.
 */
import { createPublicKey, randomBytes, verify } from 'node:crypto';
import { CKA, CKK, CKM, CKO, CryptokiFailure, codeOf, mechanism, type Template } from '@antipode/cryptoki';
import { bytesEqual, sha256 } from '@antipode/runtime';
import { receivesFor, signingHalfOf } from '../../model/identity.ts';
import type { Handle } from '../../model/object.ts';
import { isMarked, ownKeyOf } from '../../model/own-key-name.ts';
import {
  type DomainKeyEnd,
  type MarkedKey,
  type OwnKey,
  type OwnKeyRecord,
  type OwnKeys,
  PROTECTIONS,
  type Protection,
} from '../../provider/provider.ts';
import type { KeyQuirks } from '../quirks.ts';
import type { SessionProbe } from '../session/session-probe.ts';
import type { WrappingSession } from '../token-session.ts';
import { checkKept } from './check-kept.ts';
import { findOfficerKeys, findUnwrapOnly, generateOfficerKey } from './officer-key.ts';
import { generateP256, isHalfOf } from './p256.ts';
import { domainKeyPolicy, hardened } from './policy.ts';
import { findShown, keepsWrapWithTrusted } from './protections.ts';
import { generateReceivingKey, readPublicHalf } from './receiving-key.ts';
import { checkTagOf } from './tags.ts';
import { isTrusted, trustAsOfficer } from './trusted-key.ts';
import type { WrappingKeys } from './wrapping-keys.ts';

/** How the security officer logs in, and the user again after him. */
export type OfficerLogin = Pick<Parameters<typeof trustAsOfficer>[1], 'serial' | 'flags' | 'config' | 'loginUser'>;

export interface OwnKeysParts {
  readonly quirks: KeyQuirks;
  readonly probe: SessionProbe;
  readonly wrappingKeys: WrappingKeys;
  readonly officerLogin: OfficerLogin;
  /** Told of a handle that means nothing any more. */
  readonly forget: (handle: Handle) => void;
}

export class Pkcs11OwnKeys implements OwnKeys {
  readonly #context: WrappingSession;
  readonly #quirks: KeyQuirks;
  readonly #probe: SessionProbe;
  readonly #wrappingKeys: WrappingKeys;
  readonly #officerLogin: OfficerLogin;
  readonly #forget: (handle: Handle) => void;
  /** Protections missing from domain keys that an earlier release installed: it looked less closely. */
  readonly #shown = new Set<Protection>();
  #keepsWrapWithTrusted: boolean | undefined;

  constructor(context: WrappingSession, parts: OwnKeysParts) {
    this.#context = context;
    this.#quirks = parts.quirks;
    this.#probe = parts.probe;
    this.#wrappingKeys = parts.wrappingKeys;
    this.#officerLogin = parts.officerLogin;
    this.#forget = parts.forget;
  }

  /** Protections that the token does not keep, or that keys of ours in it lack. */
  get unenforced(): readonly Protection[] {
    return PROTECTIONS.filter((one) => this.#quirks.unenforced.includes(one) || this.#shown.has(one));
  }

  async generateIdentity(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array }> {
    const { unenforced } = this.#quirks;
    const { privateKey, publicHalf } = generateP256(this.#context, {
      publicUses: [[CKA.VERIFY, true]],
      privateKey: [
        [CKA.LABEL, Buffer.from('antipode identity')],
        [CKA.ID, ckaId],
        [CKA.TOKEN, true],
        [CKA.PRIVATE, true],
        [CKA.SENSITIVE, true],
        [CKA.EXTRACTABLE, false],
        [CKA.SIGN, true],
        [CKA.DERIVE, false],
        ...hardened(unenforced, [CKA.COPYABLE, false], [CKA.MODIFIABLE, false]),
      ],
    });
    checkKept(this.#context, { key: privateKey, kind: 'private', name: 'identity key', unenforced });
    // The journal has the public half. In the token it would tell anybody the id, and be one object more among theirs.
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
      const signature = this.#context.cryptoki.sign(
        this.#context.session,
        mechanism(CKM.ECDSA),
        handle,
        sha256(message),
      );
      return verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature);
    };
    // Earlier releases left the public half in the token, and its id readable for anybody.
    const privateKey = this.#onlyOne({ objectClass: CKO.PRIVATE_KEY, ckaId }, signs);
    if (privateKey === undefined) return undefined;
    // Not whatever bears the id: a public key of somebody else would be hidden from every capture.
    const companions = this.#context.cryptoki
      .find(this.#context.session, [
        [CKA.CLASS, CKO.PUBLIC_KEY],
        [CKA.ID, ckaId],
      ])
      .filter((handle) => isHalfOf(this.#context, handle, half));
    return this.#kept({ handle: privateKey, companions });
  }

  async generateReceivingKey(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array } | undefined> {
    // One that is not held to a template receives nothing safer than the exchange alone.
    if (this.unenforced.length > 0) return undefined;
    return generateReceivingKey(this.#context, { ckaId, policy: domainKeyPolicy(this.#quirks) });
  }

  async findReceivingKey({
    ckaId,
    identity,
  }: {
    ckaId: Uint8Array;
    identity: Uint8Array;
  }): Promise<{ handle: Handle; publicHalf: Uint8Array } | undefined> {
    const halves = new Map<Handle, Uint8Array>();
    const handle = this.#onlyOne({ objectClass: CKO.PRIVATE_KEY, ckaId }, (candidate) => {
      const publicHalf = readPublicHalf(this.#context, candidate);
      if (publicHalf === undefined || !receivesFor(identity, publicHalf)) return false;
      halves.set(candidate, publicHalf);
      return true;
    });
    return handle === undefined ? undefined : { handle, publicHalf: halves.get(handle)! };
  }

  async generateOfficerKey(ckaId: Uint8Array): Promise<{ publicHalf: Uint8Array } | undefined> {
    if (this.unenforced.length > 0) return undefined;
    return generateOfficerKey(this.#context, officerIdOf(ckaId));
  }

  async findOfficerKey({
    ckaId,
    identity,
  }: {
    ckaId: Uint8Array;
    identity: Uint8Array;
  }): Promise<{ handle: Handle; publicHalf: Uint8Array } | undefined> {
    return findOfficerKeys(this.#context, { ckaId: officerIdOf(ckaId), identity })[0];
  }

  async trustKeys({
    identity,
    officerPinFile,
    deliveries,
  }: Parameters<OwnKeys['trustKeys']>[0]): Promise<Uint8Array[]> {
    // The knowledge of the session probe is void while another user is logged in.
    this.#context.cryptoki.watch(() => true);
    const officerKey = { ckaId: officerIdOf(identity.ckaId), identity: identity.publicHalf };
    // They end with the login of the user.
    this.#context.values.forget();
    const keys = trustAsOfficer(this.#context, { officerKey, officerPinFile, deliveries, ...this.#officerLogin });
    return keys.map((key) => checkTagOf(this.#context, key));
  }

  async signAsIdentity(identity: Handle, message: Uint8Array): Promise<Uint8Array> {
    return new Uint8Array(
      this.#context.cryptoki.sign(this.#context.session, mechanism(CKM.ECDSA), identity, sha256(message)),
    );
  }

  async findDomainKey({ trusted, ...record }: FindDomainKey): Promise<OwnKey | undefined> {
    const handle = this.#findByTag(record);
    if (handle === undefined) return undefined;
    const trustedKey = trusted && this.#findByTag(trusted);
    // The journal calls the key trusted. The token is asked each time, also whether it keeps to that.
    const isKept = trustedKey !== undefined && isTrusted(this.#context, trustedKey) && this.#doesKeepWrapWithTrusted();
    this.#wrappingKeys.found(handle, isKept ? trustedKey : undefined);
    return this.#kept({ handle, companions: [], ...(isKept ? { trusted: trustedKey } : {}) });
  }

  #findByTag({ ckaId, checkTag }: OwnKeyRecord): Handle | undefined {
    const handle = this.#onlyOne({ objectClass: CKO.SECRET_KEY, ckaId }, (candidate) =>
      bytesEqual(checkTagOf(this.#context, candidate), checkTag),
    );
    if (handle !== undefined) for (const protection of findShown(this.#context, handle)) this.#shown.add(protection);
    return handle;
  }

  #doesKeepWrapWithTrusted(): boolean {
    this.#keepsWrapWithTrusted ??= keepsWrapWithTrusted(this.#context);
    return this.#keepsWrapWithTrusted;
  }

  /**
   * In one call of the worker: nobody else of this process gets between the proof, the destruction and the second look.
   */
  async destroyDomainKey(record: OwnKeyRecord): Promise<DomainKeyEnd> {
    const here = (): Handle[] => this.#secretKeysUnder(record.ckaId);
    if (here().length === 0) return 'absent';
    const own = await this.findDomainKey(record);
    if (own === undefined) return 'unproven';
    try {
      this.#probe.release(own.handle);
      this.#forget(own.handle);
      this.#context.cryptoki.destroy(this.#context.session, own.handle);
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure && codeOf(thrown.returnValue) === 'HSM_REFUSED') return 'kept';
      throw thrown;
    }
    return (await this.findDomainKey(record)) === undefined ? 'destroyed' : 'kept';
  }

  #kept(found: OwnKey): OwnKey {
    this.#probe.keep(found.handle);
    return found;
  }

  async findUnder(ckaIds: readonly Uint8Array[]): Promise<Handle[]> {
    return ckaIds.flatMap((ckaId) => [
      ...this.#context.cryptoki
        .find(this.#context.session, [
          [CKA.TOKEN, true],
          [CKA.ID, ckaId],
        ])
        .filter((handle) => this.#isPrivate(handle)),
      // It is not private, and nothing here names its public half: none is hidden that could ever be captured.
      ...findUnwrapOnly(this.#context, officerIdOf(ckaId)),
    ]);
  }

  async findMarked(identityIds: readonly Uint8Array[]): Promise<MarkedKey[]> {
    return this.#context.cryptoki.find(this.#context.session, WRAPS_ONLY).flatMap((handle) => {
      const shown = this.#context.cryptoki.attributes(this.#context.session, handle, [CKA.ID, CKA.LABEL, CKA.PRIVATE]);
      const [ckaId, label] = [shown?.get(CKA.ID), Buffer.from(shown?.get(CKA.LABEL) ?? []).toString()];
      const named = ownKeyOf(label);
      if (ckaId === undefined || named === undefined || shown?.get(CKA.PRIVATE)?.[0] !== 1) return [];
      if (!identityIds.some((identityId) => isMarked(ckaId, { identityId, label }))) return [];
      const checkTag = this.#tagIfSound(handle, named.kind);
      return [{ ...named, handle, ckaId: new Uint8Array(ckaId), ...(checkTag === undefined ? {} : { checkTag }) }];
    });
  }

  /** Of a key that wraps, and is as well protected as one that was just installed. */
  #tagIfSound(handle: Handle, kind: MarkedKey['kind']): Uint8Array | undefined {
    const unenforced = kind === 'trusted' ? [] : this.#quirks.unenforced;
    if (findShown(this.#context, handle).some((protection) => !unenforced.includes(protection))) return undefined;
    if (kind === 'trusted' && !isTrusted(this.#context, handle)) return undefined;
    try {
      return checkTagOf(this.#context, handle);
    } catch (thrown) {
      if (thrown instanceof CryptokiFailure && codeOf(thrown.returnValue) === 'HSM_REFUSED') return undefined;
      throw thrown;
    }
  }

  /**
   * The one key under an id that proves itself by use. Other objects may bear the id: one that a session without a
   * login can see may come from anybody, and one that does not prove itself is none of ours. With two that do, neither
   * is taken.
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
    return this.#context.cryptoki
      .find(this.#context.session, [
        [CKA.CLASS, objectClass],
        [CKA.ID, ckaId],
      ])
      .filter((handle) => this.#isPrivate(handle));
  }

  #isPrivate(handle: Handle): boolean {
    return this.#context.cryptoki.attributes(this.#context.session, handle, [CKA.PRIVATE])?.get(CKA.PRIVATE)?.[0] === 1;
  }
}

/** Domain keys and trusted keys are made so (policy.ts), and few other keys are. */
const WRAPS_ONLY: Template = [
  [CKA.CLASS, CKO.SECRET_KEY],
  [CKA.KEY_TYPE, CKK.AES],
  [CKA.TOKEN, true],
  [CKA.EXTRACTABLE, false],
  [CKA.DECRYPT, false],
  [CKA.UNWRAP, true],
];

type FindDomainKey = Parameters<OwnKeys['findDomainKey']>[0];

/** Another one than that of the private keys: anybody can read it. */
const officerIdOf = (ckaId: Uint8Array): Uint8Array =>
  sha256(Buffer.concat([Buffer.from('antipode officer key v1\0'), ckaId])).slice(0, 16);
