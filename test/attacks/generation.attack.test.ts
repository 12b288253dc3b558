/** Generations in the hands of somebody who can write the stores and the wire, and has an identity of one kind or another. */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { CKM, mechanism } from '@antipode/cryptoki';
import type { Generation } from '@antipode/hsm-core';
import { openSigned, type SealedGeneration } from '@antipode/hsm-core';
import { encodeManifest, SealedGroup, sealedGeneration, signingInput } from '@antipode/hsm-core/testing';
import { hex, sha256Hex } from '@antipode/runtime';
import { rejection, thrown } from '@antipode/runtime/testing';
import { Pins } from '@antipode/site-agent';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { enrolTogether } from '../support/members.ts';
import { temporaryFolder } from '../support/tokens.ts';
import { attack, DEVICES, type Member, makeMember } from './support/device.ts';
import { openRawToken, refusalOf } from './support/raw-token.ts';
import { APPLICATION_KEY, flags, label, NEW_AES } from './support/templates.ts';

const [GROUP, OTHER] = ['payments', 'other'];

describe.each(DEVICES)('a generation, on $name', (device) => {
  /** The source, a standby, a standby whose agent trusts anybody, a member of another group, and a stranger. */
  let a: Member;
  let b: Member;
  let trusting: Member;
  let stranger: Member;
  let foreigner: Member;
  let folder: string;
  let pins: Pins;
  const group = new SealedGroup();
  let genuine: SealedGeneration;

  beforeAll(async () => {
    [a, b, trusting, stranger, foreigner] = await Promise.all([
      makeMember(device, 'source'),
      makeMember(device, 'standby'),
      makeMember(device, 'trusting'),
      makeMember(device, 'stranger'),
      makeMember(device, 'foreigner'),
    ]);
    await enrolTogether([a, b, trusting], { group: GROUP, version: 1 });
    await enrolTogether([a, b, foreigner], { group: OTHER, version: 1 });
    const raw = await openRawToken(a.token);
    for (const name of ['alpha', 'beta'])
      await raw.generateKey(mechanism(CKM.AES_KEY_GEN), [
        ...NEW_AES,
        ...flags({ sensitive: true, extractable: true, encrypt: true, decrypt: true }),
        ...label(name),
      ]);
    await raw.close();
    genuine = await group.captured(a);
    folder = temporaryFolder('attack-pins');
    pins = new Pins(join(folder, 'pins.yaml'));
    const pin = ({ fingerprint: identity, serial, token }: Member) =>
      ({ identity, serial, site: token.label, role: 'member' }) as const;
    pins.add(GROUP, [a, b].map(pin));
    pins.add(OTHER, [a, foreigner].map(pin));
  });

  afterAll(async () => {
    if (folder !== undefined) rmSync(folder, { recursive: true });
    await Promise.all([a, b, trusting, stranger, foreigner].map((member) => member?.close()));
  });

  const isPinned = (name: string, identity: string): boolean => pins.of(name).some((pin) => pin.identity === identity);
  const open = (signed: Uint8Array, expectedDigest?: string): SealedGeneration =>
    openSigned(signed, {
      group: GROUP,
      isPinned: (identity) => isPinned(GROUP, identity),
      ...(expectedDigest === undefined ? {} : { expectedDigest }),
    });
  const openTrusting = (signed: Uint8Array): SealedGeneration =>
    openSigned(signed, { group: GROUP, isPinned: () => true });
  const signedBy = async (
    { provider, keyring }: Member,
    generation: Generation,
    claimed = keyring.identity.publicHalf,
  ): Promise<SealedGeneration> => {
    const manifest = encodeManifest(generation);
    const signature = await provider.signAsIdentity(keyring.identity.handle, signingInput(manifest));
    return sealedGeneration({ generation, manifest, signature, signer: claimed });
  };
  const from = (member: Member, generation: Generation): Generation => ({
    ...generation,
    source: { ...generation.source, serial: member.serial, identitySha256: member.fingerprint },
  });
  /** Each key under the name of the other. */
  const swapped = ({ generation }: SealedGeneration = genuine): Generation => {
    const [one, two] = generation.entries as [Generation['entries'][0], Generation['entries'][0]];
    return {
      ...generation,
      number: generation.number + 1n,
      entries: [
        { ...one, blobSha256: two.blobSha256!, blobSize: two.blobSize },
        { ...two, blobSha256: one.blobSha256!, blobSize: one.blobSize },
      ],
    };
  };
  const inventoryOf = async (member: Member) => {
    const own = member.keyring.ownHandles;
    return (await member.provider.inventory()).filter(({ handle }) => !own.has(handle));
  };

  attack(device, 'manifest-swap', async () => {
    const manifest = encodeManifest(swapped());
    const digest = sha256Hex(manifest);
    const signer = a.keyring.identity.publicHalf;
    const signature = await a.provider.signAsIdentity(
      a.keyring.identity.handle,
      signingInput(encodeManifest(genuine.generation)),
    );
    // Without a check of the signature, each key is restored under the name of the other.
    const unsigned = { ...genuine, generation: swapped(), digest };
    await group.apply(trusting, unsigned);
    const [named] = (await inventoryOf(trusting)).filter(
      ({ attributes }) => Buffer.from(attributes.label ?? []).toString() === 'alpha',
    );
    const [outcome] = await trusting.provider.wrap(trusting.keyring.domainKey(GROUP, 1).handle, [named!.handle]);
    const beta = genuine.generation.entries.find(
      ({ attributes }) => Buffer.from(attributes.label ?? []).toString() === 'beta',
    )!;
    expect(outcome !== undefined && 'blob' in outcome && sha256Hex(outcome.blob)).toBe(beta.blobSha256);

    for (const given of [signature, new Uint8Array(0), new Uint8Array(64)]) {
      const { signed } = sealedGeneration({ generation: swapped(), manifest, signature: given, signer });
      expect(thrown(() => open(signed)).code).toBe('MANIFEST_INVALID');
      expect(thrown(() => open(signed, digest)).code).toBe('MANIFEST_INVALID');
    }
    // Signed by the source itself, but not the one that was announced.
    const another = await signedBy(a, swapped());
    expect(thrown(() => open(another.signed, genuine.digest)).code).toBe('MANIFEST_INVALID');
    expect(open(genuine.signed, genuine.digest).digest).toBe(genuine.digest);
    return 'refused';
  });

  attack(device, 'manifest-resigned', async () => {
    const resigned = await signedBy(stranger, from(stranger, swapped()));
    expect(openTrusting(resigned.signed).generation.entries).toEqual(
      expect.arrayContaining(swapped().entries as never),
    );

    expect(thrown(() => open(resigned.signed, resigned.digest)).code).toBe('PEER_NOT_PINNED');
    expect(thrown(() => open(resigned.signed)).code).toBe('PEER_NOT_PINNED');
    const inTheNameOfA = await signedBy(stranger, swapped());
    expect(thrown(() => open(inTheNameOfA.signed)).code).toBe('PEER_NOT_PINNED');
    const claimingToBeA = await signedBy(stranger, swapped(), a.keyring.identity.publicHalf);
    expect(thrown(() => open(claimingToBeA.signed)).code).toBe('MANIFEST_INVALID');
    return 'refused';
  });

  attack(device, 'manifest-of-other-group', async () => {
    const byForeigner = await signedBy(foreigner, from(foreigner, swapped()));
    expect(isPinned(OTHER, foreigner.fingerprint)).toBe(true);
    expect(openTrusting(byForeigner.signed).signerSha256).toBe(foreigner.fingerprint);

    expect(thrown(() => open(byForeigner.signed)).code).toBe('PEER_NOT_PINNED');
    // A pinned member that passes for the source.
    const byStandby = await signedBy(b, swapped());
    expect(thrown(() => open(byStandby.signed)).code).toBe('MANIFEST_INVALID');
    return 'refused';
  });

  attack(device, 'blob-of-other-group', async () => {
    // One wrapping key for everything opens everything.
    const raw = await openRawToken(b.token);
    const KWP = mechanism(device.keyWrap);
    const common = await raw.generateKey(mechanism(CKM.AES_KEY_GEN), [
      ...NEW_AES,
      ...flags({ wrap: true, unwrap: true, extractable: true }),
    ]);
    const blobOfCommon = await raw.wrapKey(KWP, common, common);
    expect(await refusalOf(raw.unwrapKey(KWP, common, blobOfCommon, APPLICATION_KEY))).toBe('CKR_OK');
    await raw.close();

    const foreign = await new SealedGroup().capture(a, { group: OTHER });
    const [blob] = [...foreign.blobs.values()];
    group.blobs.set(sha256Hex(blob!), blob!);
    const [first, ...rest] = genuine.generation.entries;
    const mixed = await signedBy(a, {
      ...genuine.generation,
      number: 9n,
      entries: [{ ...first!, blobSha256: sha256Hex(blob!), blobSize: blob!.length }, ...rest],
    });
    const before = (await inventoryOf(b)).length;
    // Both domain keys are in that token; what matters is which of them the manifest is of.
    const { applied, refused } = await group.apply(b, open(mixed.signed));
    expect(refused).toMatchObject([{ objectId: first!.objectId, code: 'BLOB_INVALID' }]);
    expect(await inventoryOf(b)).toHaveLength(before + applied.length);
    return 'refused';
  });

  attack(device, 'generation-of-other-group', async () => {
    const foreign = new SealedGroup();
    const { generation, signed } = await foreign.captured(a, { group: OTHER });
    expect(openSigned(signed, { group: OTHER, isPinned: (one) => isPinned(OTHER, one) }).generation.group).toBe(OTHER);
    const before = (await inventoryOf(b)).length;

    expect(thrown(() => open(signed)).code).toBe('MANIFEST_INVALID');
    // Renamed, and signed by a member of both.
    const renamed = await signedBy(a, { ...generation, group: GROUP });
    expect((await rejection(foreign.apply(b, open(renamed.signed)))).code).toBe('DOMAIN_KEY_MISSING');
    const { domainKeyCheckTag } = genuine.generation;
    expect(hex(domainKeyCheckTag)).not.toBe(hex(generation.domainKeyCheckTag));
    const retagged = await signedBy(a, { ...generation, group: GROUP, domainKeyCheckTag });
    expect((await rejection(foreign.apply(b, open(retagged.signed)))).code).toBe('BLOB_INVALID');
    expect(await inventoryOf(b)).toHaveLength(before);
    return 'refused';
  });
});
