/** Promises about proofs and challenges. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import type { ProofItem } from '../../provider/provider.ts';
import { named, type Planted, plantedKey, SoftwareDomain, secretKey } from '../software-domain.ts';
import type { Chapter } from './device.ts';
import { AES, ecPair, kindsOf, proofOf } from './key-material.ts';

export function proving({ promise, has, make }: Chapter): void {
  promise(
    'proves each kind of key by use, and refuses another of the same kind in its place',
    async ({ provider, domain, plant }) => {
      for (const [kind, planted, use] of kindsOf({ has })) {
        const attributes = { ...named(`proved ${kind}`), [use]: true };
        const [handle] = await plant({ ...planted, attributes });
        const item = proofOf(domain, handle!, { ...planted, attributes });
        const [proof] = await provider.prove(domain.handle, [item]);
        expect([kind, proof?.checks.filter(({ outcome }) => outcome === 'failed')]).toEqual([kind, []]);
        expect([kind, proof?.proved]).toEqual([kind, true]);
        const another = kindsOf({ has }).find(([one]) => one === kind)![1];
        const impostor = proofOf(domain, handle!, { ...another, attributes });
        expect([kind, (await provider.prove(domain.handle, [impostor]))[0]?.proved]).toEqual([kind, false]);
        expect(await provider.challenge(domain.handle, [handle!])).toEqual(['works']);
      }
    },
  );

  promise('shows each secret by its uses, alike in two partitions, and takes no other secret for it', async (open) => {
    const { provider, other, domain, plant } = open;
    const there = await domain.copyInto(other);
    const uses = ['encrypt', 'decrypt', 'sign', 'verify', 'wrap', 'unwrap', 'derive'] as const;
    const kinds = [
      ...kindsOf({ has }),
      ...uses.map((use) => ['AES', secretKey('aes', randomBytes(32), {}), use] as const),
      ['a generic secret', secretKey('generic-secret', randomBytes(32), {}), 'verify'] as const,
      ['a generic secret', secretKey('generic-secret', randomBytes(32), {}), 'derive'] as const,
    ];
    const shown: string[] = [];
    for (const [kind, planted, use] of kinds.filter(([, { objectClass }]) => objectClass === 'secret-key')) {
      const name = `${kind}, ${use}`;
      const attributes = { ...named(`shown ${name}`), [use]: true };
      const secret = { ...planted, attributes };
      const [handle] = await plant(secret);
      const [copy] = await there.plant(other, [secret]);
      const [vectors] = await provider.makeVectors(domain.handle, [handle!]);
      expect([name, await other.makeVectors(there.handle, [copy!])]).toEqual([name, [vectors]]);
      expect([name, await provider.makeVectors(domain.handle, [handle!])]).toEqual([name, [vectors]]);
      const item = (of: Planted): ProofItem => {
        const { blobSha256: _blob, ...rest } = proofOf(domain, handle!, of);
        return { ...rest, vectors: vectors! };
      };
      const [proof] = await provider.prove(domain.handle, [item(secret)]);
      expect([name, proof?.proved]).toEqual([name, vectors!.length > 0]);
      const another = kindsOf({ has }).find(([one]) => one === kind)![1];
      const [impostor] = await plant({ ...another, attributes: { ...attributes, ...named(`an impostor of ${name}`) } });
      const [denied] = await provider.prove(domain.handle, [{ ...item(secret), handle: impostor! }]);
      expect([name, denied?.proved]).toEqual([name, false]);
      if (vectors!.length > 0) shown.push(name);
      await provider.destroy([handle!, impostor!]);
      await other.destroy([copy!]);
    }
    expect(shown).toEqual(
      expect.arrayContaining(['AES, encrypt', 'AES, decrypt', 'AES, wrap', 'AES, derive', 'a generic secret, sign']),
    );
    await other.destroy([there.handle]);
  });

  promise('makes no vector of a key of a pair, or of what is gone', async ({ provider, domain, plant }) => {
    const pair = plantedKey(ecPair('P-256'), { ...named('no vector'), sign: true });
    const [handle, gone] = await plant(pair, secretKey('aes', randomBytes(32), { ...named('gone'), ...AES }));
    await provider.destroy([gone!]);
    expect(await provider.makeVectors(domain.handle, [handle!, gone!])).toEqual([[], []]);
  });

  promise(
    'proves nothing of what is gone, and does not say of it that it refuses',
    async ({ provider, domain, plant }) => {
      const planted = secretKey('aes', randomBytes(32), { ...named('vanished'), ...AES });
      const [handle] = await plant(planted);
      await provider.destroy([handle!]);
      expect(await provider.prove(domain.handle, [proofOf(domain, handle!, planted)])).toMatchObject([
        { proved: false },
      ]);
      expect(await provider.challenge(domain.handle, [handle!])).toEqual(['untried']);
    },
  );

  promise(
    'tells a key that was left half made from one that works',
    async () => {
      const torn = await make('torn');
      try {
        const first = await SoftwareDomain.installIn(torn.provider);
        await first.plant(torn.provider, [
          secretKey('aes', randomBytes(32), { ...named('half aes'), ...AES }),
          plantedKey(ecPair('P-256'), { ...named('half ec'), sign: true }),
        ]);
        const reopened = await torn.halve!();
        const own = (await reopened.findDomainKey(first))!.handle;
        const half = (await reopened.inventory()).filter(({ attributes }) => attributes.extractable === true);
        expect(half).toHaveLength(2);
        const handles = half.map(({ handle }) => handle);
        expect(await reopened.challenge(own, handles)).toEqual(['refuses', 'refuses']);
        expect((await reopened.wrap(own, handles)).every((outcome) => !('blob' in outcome))).toBe(true);
        expect(await reopened.destroy(handles)).toEqual([]);
      } finally {
        await torn.remove();
      }
    },
    'half-made-keys',
  );
}
