/** Promises about proofs and challenges. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { named, plantedKey, SoftwareDomain, secretKey } from '../software-domain.ts';
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
