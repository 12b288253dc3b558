/**
 * Proves the keys of a partition that a device has copied as a whole, such as from a backup. The copy has the own keys of
 * its source too, the domain keys among them. So it is compared with a generation of the source, without any blob.
 * It changes nothing.
 */
import type { Clock } from '@antipode/runtime';
import { AntipodeError } from '@antipode/runtime';
import type { DomainKey, DomainKeyRecord, IdentityRecord, Keyring } from '../domain-key/keyring.ts';
import type { SealedGeneration } from '../model/generation.ts';
import type { Handle } from '../model/object.ts';
import { fingerprint } from '../model/public-half.ts';
import type { HsmProvider } from '../provider/provider.ts';
import { type ScrubReport, scrub } from './scrub.ts';

export interface WholeCopy {
  /** The partition with the copy. */
  readonly provider: HsmProvider;
  readonly clock: Clock;
  readonly target: SealedGeneration;
  /** The records of the source. */
  readonly identity: IdentityRecord | undefined;
  readonly domainKeys: readonly DomainKeyRecord[];
}

export interface CopyReport extends ScrubReport {
  /** Signs as the identity of the source, if the copy has its key. The partition must be open still. */
  readonly sign?: (message: Uint8Array) => Promise<Uint8Array>;
}

/** @throws DOMAIN_KEY_MISSING if the copy lacks the version that the generation names, HSM_UNAVAILABLE, HSM_WORKER_LOST */
export async function proveWholeCopy({
  provider,
  clock,
  target,
  identity,
  domainKeys,
}: WholeCopy): Promise<CopyReport> {
  const ownHandles = new Set<Handle>();
  const own = identity && (await provider.findIdentity(identity));
  if (own !== undefined) for (const handle of [own.handle, ...own.companions]) ownHandles.add(handle);
  const keys = new Map<string, DomainKey>();
  for (const { trusted: _trusted, ...record } of domainKeys) {
    const found = await provider.findDomainKey(record);
    if (found === undefined) continue;
    ownHandles.add(found.handle);
    keys.set(`${record.group} ${record.version}`, { handle: found.handle, ...record });
  }
  const keyring: Keyring = {
    identity: {
      handle: own?.handle ?? NO_HANDLE,
      ckaId: identity?.ckaId ?? new Uint8Array(),
      publicHalf: identity?.publicHalf ?? new Uint8Array(),
      sha256: identity === undefined ? '' : fingerprint(identity.publicHalf),
    },
    domainKey: (group, version) => {
      const key = keys.get(`${group} ${version}`);
      if (key !== undefined) return key;
      throw new AntipodeError(
        'DOMAIN_KEY_MISSING',
        `the copy has no domain key version ${version} of group ${group}, which the source had`,
        { details: { group, version } },
      );
    },
    domainKeys: (group) => [...keys].flatMap(([name, key]) => (name.startsWith(`${group} `) ? [key] : [])),
    ownHandles,
    missing: [],
    unrecorded: [],
  };
  // The restored keys are clones, whatever the configuration of this partition says: their vectors are repeated.
  const asClones: HsmProvider = {
    ...provider,
    describe: async () => ({
      cloning: { kind: 'whole copy', shape: 'blobs', domain: NO_DOMAIN },
      ...(await provider.describe()),
    }),
  };
  const report = await scrub({ provider: asClones, keyring, clock, target, known: new Map() });
  return own === undefined ? report : { ...report, sign: (message) => provider.signAsIdentity(own.handle, message) };
}

const NO_HANDLE: Handle = 0n;
const NO_DOMAIN = new Uint8Array(32);
