/**
 * The provider of one PKCS#11 partition: its capabilities over one session, put together. Runs inside the worker
 * process (worker/main.ts) and is the only code that touches key material; nothing of it leaves in the clear (I5).
 */
import { randomBytes } from 'node:crypto';
import { type Cryptoki, type TokenInfo, translate } from '@antipode/cryptoki';
import { AntipodeError, readPinFile, systemClock } from '@antipode/runtime';
import { openLunaCloner } from '../luna/cloner/luna-cloner.ts';
import type {
  DeviceCloner,
  HsmProvider,
  NativeCloner,
  PartitionDescription,
  Protection,
} from '../provider/provider.ts';
import { PROTECTIONS } from '../provider/provider.ts';
import { openSoftHsmCloner } from '../softhsm/softhsm-cloner.ts';
import { Pkcs11ExactSealer } from './exact/exact-sealer.ts';
import { ValueDigests } from './exact/value-digests.ts';
import { findCrossing, wrappingSession } from './known-values.ts';
import { Maker } from './maker.ts';
import { HiddenObjects } from './native/hidden-objects.ts';
import { Pkcs11NativeSealer } from './native/native-sealer.ts';
import { StoreAge } from './native/store-age.ts';
import { Pkcs11KeyExchange } from './own-keys/key-exchange.ts';
import { Pkcs11OwnKeys } from './own-keys/own-keys.ts';
import { findUnenforced } from './own-keys/protections.ts';
import { WrappingKeys } from './own-keys/wrapping-keys.ts';
import { Pkcs11Prover } from './prover.ts';
import { derivedBytesMax, keepsOnePerId, type Quirks, reusesHandles } from './quirks.ts';
import { Pkcs11Reader } from './reader.ts';
import { ObjectReader } from './reading/object-reader.ts';
import { PublicHalves } from './reading/public-halves.ts';
import { Pkcs11Restorer } from './restorer.ts';
import { Pkcs11Sealer } from './sealer.ts';
import { findMechanisms, type MechanismSettings, namingLacks } from './self-test/mechanisms.ts';
import { tryTemplates } from './self-test/templates.ts';
import { type OpenSession, openSession, ownersOf, type PartitionConfig, type SlotSearch } from './session/session.ts';
import { SessionProbe } from './session/session-probe.ts';

/** @throws MECHANISM_MISSING, PROTECTION_UNENFORCED, HSM_REFUSED, and what {@link openSession} throws */
export async function openProvider(config: PartitionConfig, search?: SlotSearch): Promise<HsmProvider> {
  const opened = await openSession(config, search);
  const { cryptoki, session } = opened;
  try {
    const probe = new SessionProbe({ cryptoki, session });
    const { vendorAttributes = [] } = config;
    const objects = new ObjectReader({ cryptoki, session, digestKey: randomBytes(32), vendorAttributes });
    const quirks = await findQuirks(opened, { objects, accepted: config.acceptUnenforced ?? [], settings: config });
    const cloner = clonerOf(opened, config, search);
    return composed(opened, { config, probe, objects, quirks, ...(cloner === undefined ? {} : { cloner }) });
  } catch (thrown) {
    const error = translate(thrown);
    const named = await Promise.resolve()
      .then(() => namingLacks(error, { cryptoki, session }, config))
      .catch(() => error);
    end(cryptoki, session);
    throw named;
  }
}

/** Everything that is asked of a device before anybody relies on it. */
async function findQuirks(
  { cryptoki, session, token }: OpenSession,
  {
    objects,
    accepted,
    settings,
  }: { objects: ObjectReader; accepted: readonly Protection[]; settings: MechanismSettings },
): Promise<Quirks> {
  const found = findMechanisms({ cryptoki, session }, settings);
  const limit = derivedBytesMax(token);
  const agreement = limit === undefined ? found.agreement : { ...found.agreement, derivedBytesMax: limit };
  const mechanisms = { ...found, agreement };
  const crossing = findCrossing({ cryptoki, session, ...mechanisms });
  const context = wrappingSession({ cryptoki, session }, { ...mechanisms, crossing });
  try {
    const tried = findUnenforced(context);
    checkProtections(tried, { token, accepted });
    const { breaches, ...restoring } = await tryTemplates(context, {
      quirks: { ...mechanisms, crossing, unenforced: tried },
      objects,
    });
    // A key made by the real templates may keep less.
    const unenforced = PROTECTIONS.filter((one) => tried.includes(one) || breaches.includes(one));
    checkProtections(unenforced, { token, accepted });
    return {
      ...mechanisms,
      crossing,
      unenforced,
      ...restoring,
      reusesHandles: reusesHandles({ cryptoki, session }),
      keepsOnePerId: keepsOnePerId(token),
    };
  } finally {
    context.values.forget();
  }
}

/**
 * The holder of one weak member's PIN could get the domain key of the whole group: the member's site must have agreed.
 */
function checkProtections(
  unenforced: readonly Protection[],
  { token, accepted }: { token: TokenInfo; accepted: readonly Protection[] },
): void {
  const missing = unenforced.filter((protection) => !accepted.includes(protection));
  if (missing.length === 0) return;
  throw new AntipodeError(
    'PROTECTION_UNENFORCED',
    `the token does not enforce these protections of keys: ${missing.join(', ')}`,
    { details: { serial: token.serial, unenforced: missing.join(',') } },
  );
}

/** @throws TOKEN_STORE_UNUSABLE, CONFIG_INVALID */
function clonerOf(
  { cryptoki, session, token }: OpenSession,
  { native, pinFile, stateFolder }: PartitionConfig,
  search: SlotSearch | undefined,
): NativeCloner | DeviceCloner | undefined {
  if (native === undefined) return undefined;
  const owners = ownersOf(stateFolder);
  if (native.kind === 'luna') {
    const readFile = (file: string) => readPinFile(file, { owners });
    const onOutput = () => search?.answered?.();
    return openLunaCloner({ native, token, pinFile, readPin: readFile, clock: systemClock, onOutput });
  }
  const readPin = () => readPinFile(pinFile, { owners });
  const { serial } = token;
  return openSoftHsmCloner({ cryptoki, session, serial, clock: systemClock, readPin, stateFolder });
}

interface Parts {
  readonly config: PartitionConfig;
  readonly probe: SessionProbe;
  readonly objects: ObjectReader;
  readonly quirks: Quirks;
  /** Of this kind of device, where the configuration names one. */
  readonly cloner?: NativeCloner | DeviceCloner;
}

function composed(opened: OpenSession, { config, probe, objects, quirks, cloner }: Parts): HsmProvider {
  const { cryptoki, session, token, silentSlots, freeSlots, flags, loginAgain, loginForUse } = opened;
  const context = wrappingSession({ cryptoki, session }, quirks);
  const wrappingKeys = new WrappingKeys();
  const publicHalves = new PublicHalves(context, quirks);
  const { stored, stamps } = cloner?.shape === 'blobs' ? cloner : {};
  const reader = new Pkcs11Reader(context, {
    objects,
    publicHalves,
    probe,
    reusesHandles: quirks.reusesHandles,
    hidden: stored && new HiddenObjects(stored),
    age: new StoreAge(stamps),
  });
  const ownKeys = new Pkcs11OwnKeys(context, {
    quirks,
    probe,
    wrappingKeys,
    officerLogin: { serial: token.serial, flags, config, loginUser: loginAgain },
    forget: (handle) => reader.forget(handle),
  });
  const exchange = new Pkcs11KeyExchange(context, quirks);
  const sealer = new Pkcs11Sealer(context, { quirks, wrappingKeys });
  const maker = new Maker({ ...context, objects, quirks });
  const digests = new ValueDigests(context);
  const exactSealer = new Pkcs11ExactSealer(context, { quirks, digests, maker });
  const restorer = new Pkcs11Restorer(context, { maker, wrappingKeys });
  const prover = new Pkcs11Prover(context, { objects, publicHalves, wrappingKeys, digests, loginForUse });
  const nativeSealer = new Pkcs11NativeSealer(context, {
    cloner,
    read: (handle, publicHalf) => publicHalves.complete([objects.read(handle)], [publicHalf])[0],
    readShown: (handle) => objects.read(handle),
    shows: async (domainKey, item, handle) =>
      (await prover.prove(domainKey, [{ ...item, handle, isClone: true }]))[0]?.proved === true,
  });

  const describe = async (): Promise<PartitionDescription> => {
    const { serial, label, manufacturer, model, firmware } = token;
    const said = { serial, label, manufacturer, model, firmware, unenforced: ownKeys.unenforced };
    const { kdfs, pointEncoding } = quirks.agreement;
    const cloning = cloner && { kind: cloner.kind, shape: cloner.shape, domain: await cloner.domain() };
    const mechanisms = { keyWrap: quirks.keyWrap.type, kdfs, pointEncoding, takesSecrets: quirks.crossing.creates };
    return {
      ...said,
      mechanisms,
      silentSlots,
      freeSlots,
      ...(quirks.reusesHandles ? { reusesHandles: true } : {}),
      ...(cloning === undefined ? {} : { cloning }),
    };
  };
  return {
    describe,
    look: (options) => reader.look(options),
    inventory: () => reader.inventory(),
    read: (handles, publicHalves) => reader.read(handles, publicHalves),
    destroy: (handles, readDigests) => reader.destroy(handles, readDigests),
    hide: (handles, readDigests) => reader.hide(handles, readDigests),
    generateIdentity: (ckaId) => ownKeys.generateIdentity(ckaId),
    findIdentity: (record) => ownKeys.findIdentity(record),
    generateReceivingKey: (ckaId) => ownKeys.generateReceivingKey(ckaId),
    findReceivingKey: (record) => ownKeys.findReceivingKey(record),
    generateOfficerKey: (ckaId) => ownKeys.generateOfficerKey(ckaId),
    findOfficerKey: (record) => ownKeys.findOfficerKey(record),
    trustKeys: (options) => ownKeys.trustKeys(options),
    signAsIdentity: (identity, message) => ownKeys.signAsIdentity(identity, message),
    findDomainKey: (record) => ownKeys.findDomainKey(record),
    destroyDomainKey: (record) => ownKeys.destroyDomainKey(record),
    findUnder: (ckaIds) => ownKeys.findUnder(ckaIds),
    findMarked: (identityIds) => ownKeys.findMarked(identityIds),
    generateDomainKey: () => exchange.generateDomainKey(),
    generateEphemeral: () => exchange.generateEphemeral(),
    deriveExchangeKey: (options) => exchange.deriveExchangeKey(options),
    wrapDomainKey: (options) => exchange.wrapDomainKey(options),
    installDomainKey: (options) => exchange.installDomainKey(options),
    lendDomainKey: () => exchange.lendDomainKey(),
    openTrustedDelivery: (options) => exchange.openTrustedDelivery(options),
    forget: (handles) => exchange.forget(handles),
    wrap: (domainKey, handles) => sealer.wrap(domainKey, handles),
    generateDataKey: (domainKey) => sealer.generateDataKey(domainKey),
    sealData: (options) => sealer.sealData(options),
    tagData: (domainKey, handles) => sealer.tagData(domainKey, handles),
    tagBytes: (domainKey, values) => sealer.tagBytes(domainKey, values),
    tagSecrets: (domainKey, handles) => exactSealer.tagSecrets(domainKey, handles),
    generateExactKey: (domainKey, modulusBits) => exactSealer.generateExactKey(domainKey, modulusBits),
    sealSecrets: (options) => exactSealer.sealSecrets(options),
    openExactKey: (domainKey, blob) => exactSealer.openExactKey(domainKey, blob),
    unwrapSecrets: (options) => exactSealer.unwrapSecrets(options),
    takeNative: (options) => nativeSealer.takeNative(options),
    putNative: (options) => nativeSealer.putNative(options),
    cloneNative: (options) => nativeSealer.cloneNative(options),
    unwrap: (domainKey, items) => restorer.unwrap(domainKey, items),
    create: (items) => restorer.create(items),
    unwrapDataKey: (domainKey, blob) => restorer.unwrapDataKey(domainKey, blob),
    createData: (options) => restorer.createData(options),
    prove: (domainKey, items) => prover.prove(domainKey, items),
    makeVectors: (domainKey, handles) => prover.makeVectors(domainKey, handles),
    challenge: (domainKey, handles) => prover.challenge(domainKey, handles),
    stampStore: async (stamp) => stamps?.put(stamp),
    close: async () => end(cryptoki, session),
  };
}

function end(cryptoki: Cryptoki, session: bigint): void {
  cryptoki.tryCall('C_Logout', session);
  cryptoki.tryCall('C_CloseSession', session);
  cryptoki.finalize();
}
