/**
 * Finds the partition's own keys after every start: the identity key and the domain keys. The journal's records and a
 * proof by use identify them, or an id that only this partition makes. A label never does.
 *
 * They are never captured. A missing one is an alarm of its own.
 */
import { AntipodeError, type Prng } from '@antipode/runtime';
import { hasOfficerKey, hasReceivingKey, identityOf } from '../model/identity.ts';
import type { Handle } from '../model/object.ts';
import { CKA_ID_BYTES, type KeyVersion } from '../model/own-key-name.ts';
import { fingerprint } from '../model/public-half.ts';
import type { HsmProvider, MarkedKey, OwnKeyRecord } from '../provider/provider.ts';

/** The journal's record of an identity key. */
export interface IdentityRecord {
  readonly serial: string;
  readonly ckaId: Uint8Array;
  /**
   * The whole identity: the signing key's public half, and the receiving key's hash if there is one
   * (model/identity.ts).
   */
  readonly publicHalf: Uint8Array;
}

/** The journal's record of a domain key version. */
export interface DomainKeyRecord {
  readonly group: string;
  readonly version: number;
  readonly ckaId: Uint8Array;
  readonly checkTag: Uint8Array;
  /** The trusted key of this version, once the security officer has brought it into the token. */
  readonly trusted?: OwnKeyRecord;
}

/** The journal's record of a delivered trusted key, until the security officer brings it into the token. */
export interface TrustedKeyRecord {
  readonly group: string;
  readonly version: number;
  /** Encrypted for the officer key, RSA-OAEP. */
  readonly sealed: Uint8Array;
}

export interface DomainKey {
  readonly handle: Handle;
  /** Wraps the keys that only a trusted key may wrap. Absent while the officer does not trust it. */
  readonly trusted?: Handle;
  readonly version: number;
  readonly checkTag: Uint8Array;
}

/** A key of ours that its id shows (model/own-key-name.ts), and no record does. */
export interface UnrecordedKey extends KeyVersion, OwnKeyRecord {
  readonly kind: 'domain' | 'trusted';
}

export interface Keyring {
  readonly identity: {
    readonly handle: Handle;
    readonly ckaId: Uint8Array;
    readonly publicHalf: Uint8Array;
    readonly sha256: string;
    /** The identity key is in a token of its own. */
    readonly isElsewhere?: true;
  };
  /** Absent if the identity names no such key. */
  readonly receivingKey?: { readonly handle: Handle; readonly publicHalf: Uint8Array };
  /** Receives trusted keys. Absent if the identity names no such key. */
  readonly officerKey?: { readonly handle: Handle; readonly publicHalf: Uint8Array };
  /** @throws DOMAIN_KEY_MISSING */
  domainKey(group: string, version: number): DomainKey;
  /** Every version that the partition holds, the newest first. */
  domainKeys(group: string): readonly DomainKey[];
  /** Our own objects. None of them is ever captured, counted or destroyed. */
  readonly ownHandles: ReadonlySet<Handle>;
  /** Domain keys that are recorded and not in the token. */
  readonly missing: readonly DomainKeyRecord[];
  /**
   * Keys of ours in the token that the records do not have. Each proves itself, and is the only one of its kind and
   * version.
   */
  readonly unrecorded: readonly UnrecordedKey[];
}

/** Makes the identity key of a partition. The caller journals the record before anything relies on it. */
export async function initialiseIdentity({
  provider,
  prng,
  announce,
  withReceivingKey = false,
  withOfficerKey = false,
}: {
  provider: HsmProvider;
  prng: Prng;
  /** Makes one more private key, which the identity names and which receives domain keys. */
  withReceivingKey?: boolean;
  /** Makes one more private key, which receives trusted keys and which only the security officer can use. */
  withOfficerKey?: boolean;
  /** Durable on return. Only then is the key made. */
  announce: (serial: string, ckaId: Uint8Array) => void;
}): Promise<IdentityRecord> {
  const { serial } = await provider.describe();
  const ckaId = prng.bytes(CKA_ID_BYTES);
  announce(serial, ckaId);
  // This key comes first. A signing key would be useless without the receiving key that its identity names.
  const receiving = withReceivingKey ? await provider.generateReceivingKey(ckaId) : undefined;
  const officer = withOfficerKey && receiving !== undefined ? await provider.generateOfficerKey(ckaId) : undefined;
  const { publicHalf } = await provider.generateIdentity(ckaId);
  const halves = { receiving: receiving?.publicHalf, officer: officer?.publicHalf };
  return { serial, ckaId, publicHalf: identityOf(publicHalf, halves) };
}

/** Finds and proves the own keys. @throws IDENTITY_MISSING */
export async function openKeyring(options: {
  provider: HsmProvider;
  identity: IdentityRecord;
  domainKeys: readonly DomainKeyRecord[];
  /**
   * Ids that were announced for a key that was never recorded. An object that a crash left under one of them is ours,
   * and nobody uses it.
   */
  announced: readonly Uint8Array[];
  /** CKA_IDs of other identity keys of this partition. Keys that it received under one of them are marked with it. */
  otherIds?: readonly Uint8Array[];
}): Promise<Keyring> {
  const { provider, identity, domainKeys, announced, otherIds = [] } = options;
  const own = await provider.findIdentity(identity);
  if (own === undefined) {
    const details = { serial: identity.serial, identity: fingerprint(identity.publicHalf) };
    throw new AntipodeError('IDENTITY_MISSING', 'the identity key in the journal is not in the token', {
      details,
      hint: 'Find out first what happened: somebody removed the key, initialised the token again, or restored it from an older copy. Then restore the token from its own backup, or make another key with `antipode partition init <partition> --replace-lost-identity` and trust it at every site.',
    });
  }
  const ownHandles = new Set<Handle>([
    ...(own.isElsewhere === true ? [] : [own.handle, ...own.companions]),
    ...(await provider.findUnder(announced)),
  ]);
  const receivingKey = hasReceivingKey(identity.publicHalf)
    ? await provider.findReceivingKey({ ckaId: identity.ckaId, identity: identity.publicHalf })
    : undefined;
  if (receivingKey !== undefined) ownHandles.add(receivingKey.handle);
  const officerKey = hasOfficerKey(identity.publicHalf)
    ? await provider.findOfficerKey({ ckaId: identity.ckaId, identity: identity.publicHalf })
    : undefined;
  if (officerKey !== undefined) ownHandles.add(officerKey.handle);
  const found = new Map<string, DomainKey>();
  const missing: DomainKeyRecord[] = [];
  for (const record of domainKeys) {
    const key = await provider.findDomainKey(record);
    if (key === undefined) missing.push(record);
    else {
      ownHandles.add(key.handle);
      if (key.trusted !== undefined) ownHandles.add(key.trusted);
      found.set(`${record.group}/${record.version}`, {
        handle: key.handle,
        ...(key.trusted === undefined ? {} : { trusted: key.trusted }),
        version: record.version,
        checkTag: record.checkTag,
      });
    }
  }
  // Under a record or not: they show by themselves that they are ours.
  const marked = await provider.findMarked([identity.ckaId, ...otherIds]);
  const strangers = marked.filter(({ handle }) => !ownHandles.has(handle));
  for (const { handle } of strangers) ownHandles.add(handle);
  return {
    identity: {
      handle: own.handle,
      ckaId: identity.ckaId,
      publicHalf: identity.publicHalf,
      sha256: fingerprint(identity.publicHalf),
      ...(own.isElsewhere === true ? { isElsewhere: true } : {}),
    },
    ...(receivingKey === undefined ? {} : { receivingKey }),
    ...(officerKey === undefined ? {} : { officerKey }),
    domainKey: (group, version) => {
      const key = found.get(`${group}/${version}`);
      if (key !== undefined) return key;
      throw new AntipodeError(
        'DOMAIN_KEY_MISSING',
        `the partition has no domain key version ${version} of group ${group}`,
        { details: { group, version } },
      );
    },
    domainKeys: (group) =>
      domainKeys
        .filter((record) => record.group === group)
        .sort((a, b) => b.version - a.version)
        .flatMap(({ version }) => found.get(`${group}/${version}`) ?? []),
    ownHandles,
    missing,
    unrecorded: unrecordedAmong(strangers, domainKeys),
  };
}

/** Of two of one version nobody knows which one the group has. Neither is taken then. */
function unrecordedAmong(strangers: readonly MarkedKey[], domainKeys: readonly DomainKeyRecord[]): UnrecordedKey[] {
  const byVersion = Map.groupBy(strangers, ({ kind, group, version }) => `${kind} ${version} ${group}`);
  return [...byVersion.values()].flatMap(([one, ...more]) => {
    if (one === undefined || one.checkTag === undefined || more.length > 0) return [];
    const { kind, group, version, ckaId, checkTag } = one;
    const record = domainKeys.find((known) => known.group === group && known.version === version);
    const isRecorded = kind === 'domain' ? record !== undefined : record?.trusted !== undefined;
    return isRecorded ? [] : [{ kind, group, version, ckaId, checkTag }];
  });
}
