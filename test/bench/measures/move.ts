/**
 * The memory of two agents while a large generation moves. Site a has it in its store; site b receives the order to
 * apply it and pulls all of it. No token made it, so it can have any size. The order ends at the domain key, where the
 * token would be needed.
 */
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { join } from 'node:path';
import type { Entry, Generation, SealedGeneration } from '@antipode/hsm-core';
import { fingerprint } from '@antipode/hsm-core';
import { encodeManifest, sealedGeneration, signingInput } from '@antipode/hsm-core/testing';
import { fromHex, hasCode, hex, sha256, sha256Hex, systemClock } from '@antipode/runtime';
import { loadAgentConfig, pinPartitions } from '@antipode/site-agent';
import { GenerationStore } from '@antipode/site-agent/testing';
import type { TestToken } from '../../support/tokens.ts';
import { attributesOf, blobOf } from '../places/aes-key.ts';
import { type BenchSite, BenchSites, GROUP } from '../places/sites.ts';
import type { Bench } from './measurements.ts';
import { REST_MS } from './wan.ts';

/** Of the token that is not there. */
const SERIAL = 'none';

/** Resident memory, MiB. */
export interface Moved {
  readonly before: number;
  readonly after: number;
  readonly rest: number;
  readonly peak: number;
}

export interface MoveResult {
  readonly keys: number;
  readonly manifestMiB: number;
  readonly ms: number;
  readonly source: Moved;
  readonly destination: Moved;
}

export async function measureMove(
  bench: Bench,
  { source, keys }: { source: TestToken; keys: number },
): Promise<MoveResult> {
  const { workspace, tell } = bench;
  const sites = await BenchSites.start(workspace, { source, agentEnvironment: bench.profiling });
  try {
    await sites.stopAgent(sites.a);
    const sealed = await planted(sites.a, keys);
    const pin = { identity: sealed.signerSha256, site: 'a', serial: SERIAL, role: 'member' as const };
    pinPartitions({ config: loadAgentConfig(sites.b.configFile), group: GROUP, pins: [pin] });
    for (const site of [sites.a, sites.b]) await sites.startAgent(site);
    const both = [sites.a, sites.b] as const;
    const sizes = () => both.map((site) => site.residentMiB());
    const before = sizes();
    const startMs = systemClock.monotonicMs();
    const refusal = await sites.apply({ manifestDigest: fromHex(sealed.digest) }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    if (!hasCode(refusal, 'DOMAIN_KEY_MISSING'))
      throw new Error('the order did not end where it should', { cause: refusal });
    const ms = systemClock.monotonicMs() - startMs;
    const after = sizes();
    await systemClock.sleep(REST_MS);
    const rest = sizes();
    const [a, b] = both.map((_site, index) => ({
      before: before[index]!.now,
      after: after[index]!.now,
      rest: rest[index]!.now,
      peak: rest[index]!.peak,
    })) as [Moved, Moved];
    tell(
      `  moved in ${ms.toFixed(0)} ms: source ${a.before} to ${a.after} MiB, destination ${b.before} to ${b.after} MiB`,
    );
    return { keys, manifestMiB: sealed.signed.length / 2 ** 20, ms, source: a, destination: b };
  } finally {
    await sites.close();
  }
}

/** A generation of AES keys that nobody has, in the store of a site whose agent does not run. */
async function planted({ folder }: BenchSite, keys: number): Promise<SealedGeneration> {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const signer = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }));
  const store = GenerationStore.open(join(folder, 'data'), { clock: systemClock });
  try {
    for (let first = 0; first < keys; first += 1_000)
      store.putBlobs(Array.from({ length: Math.min(1_000, keys - first) }, (_, index) => blobOf(first + index)));
    const generation: Generation = {
      group: GROUP,
      domainKeyVersion: 1,
      domainKeyCheckTag: new Uint8Array(32),
      epoch: 1n,
      number: 1n,
      previousDigest: '',
      captureStartedMs: systemClock.wallMs(),
      source: { serial: SERIAL, manufacturer: '', model: '', firmware: '', identitySha256: fingerprint(signer) },
      dataKeys: [],
      entries: Array.from({ length: keys }, (_, index) => entryOf(index)),
      uncaptured: [],
      tombstones: [],
    };
    const manifest = encodeManifest(generation);
    const sealed = sealedGeneration({ generation, manifest, signature: signed(manifest, privateKey), signer });
    await store.put(sealed);
    return sealed;
  } finally {
    store.close();
  }
}

const signed = (manifest: Uint8Array, key: KeyObject): Uint8Array =>
  new Uint8Array(sign('sha256', signingInput(manifest), { key, dsaEncoding: 'ieee-p1363' }));

const entryOf = (index: number): Entry => {
  const blob = blobOf(index);
  return {
    objectId: hex(sha256(`object ${index}`).subarray(0, 16)),
    objectClass: 'secret-key',
    keyType: 'aes',
    sizeBits: 256,
    attributes: { ...attributesOf(index), checkValue: blob.subarray(0, 3) },
    blobSha256: sha256Hex(blob),
    blobSize: blob.length,
  };
};
