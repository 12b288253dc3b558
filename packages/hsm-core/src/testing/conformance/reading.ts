/** Promises about looks and reads. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { named, plantedKey, secretKey } from '../software-domain.ts';
import type { Chapter } from './device.ts';
import { AES, ecPair } from './key-material.ts';

export function reading({ promise }: Chapter): void {
  promise(
    'shows all token objects, reads each again alike, and knows those that are gone',
    async ({ provider, plant }) => {
      const [handle, gone] = await plant(
        secretKey('aes', randomBytes(32), named('read')),
        secretKey('aes', randomBytes(32), named('read and gone')),
      );
      const objects = await provider.inventory();
      const found = objects.filter((object) => object.handle === handle || object.handle === gone);
      expect(found).toHaveLength(2);
      expect(new Set(objects.map(({ readDigest }) => readDigest)).size).toBe(objects.length);
      expect(await provider.destroy([gone!])).toEqual([]);
      // Destroying an object twice is not an error.
      expect(await provider.destroy([gone!])).toEqual([]);
      const [again, nothing] = await provider.read([handle!, gone!]);
      expect(again).toEqual(found.find((object) => object.handle === handle));
      expect(nothing).toBeUndefined();
      expect((await provider.inventory()).some((object) => object.handle === gone)).toBe(false);
    },
  );

  promise(
    'tells in a later look only what has changed since, and still lists what is there',
    async ({ provider, plant }) => {
      const [kept, changing] = await plant(
        secretKey('aes', randomBytes(32), { ...named('looked at'), ...AES }),
        secretKey('aes', randomBytes(32), { ...named('looked at later'), ...AES }),
      );
      const first = await provider.look({});
      expect([...first.handles]).toEqual(expect.arrayContaining([kept, changing]));
      expect(first.objects).toHaveLength(first.handles.length);
      await provider.destroy([changing!]);
      const [added] = await plant(secretKey('aes', randomBytes(32), { ...named('new'), ...AES }));
      const second = await provider.look({ since: first.number });
      expect(second.number).toBeGreaterThan(first.number);
      expect(second.objects.map(({ handle }) => handle)).toEqual([added]);
      expect([...second.handles]).toEqual(expect.arrayContaining([kept, added]));
      expect([...second.handles]).not.toContain(changing);
      const third = await provider.look({ handles: [kept!, changing!] });
      expect([...third.handles]).toEqual([kept]);
      expect(third.objects).toEqual(first.objects.filter(({ handle }) => handle === kept));
    },
  );

  promise('finds the public half of a private key by its use, and believes no other', async ({ provider, plant }) => {
    const own = plantedKey(ecPair('P-256'), { ...named('half'), sign: true });
    const wrong = plantedKey(ecPair('P-256'), {}).publicHalf!;
    const [handle] = await plant(own);
    for (const expected of [undefined, own.publicHalf, wrong]) {
      const [object] = await provider.read([handle!], [expected]);
      expect(object?.publicHalf).toEqual(own.publicHalf);
    }
  });
}
