/**
 * Tries every promise of provider.ts on any implementation of it. A device names what it lacks. If the contract says
 * what happens without it, the suite tries that. Otherwise it skips the promise, and asserts the list of skipped
 * titles.
 *
 * The keys have known values: they come into the partition under a domain key that the test knows (software-domain.ts).
 * So software checks what the token answers.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ObservedObject } from '../../model/object.ts';
import { SoftwareDomain } from '../software-domain.ts';
import { assumptions } from './assumptions.ts';
import type { Chapter, ConformanceDevice, OpenPartitions, Subject } from './device.ts';
import { ending } from './ending.ts';
import { exact } from './exact.ts';
import { native } from './native.ts';
import { ownKeys } from './own-keys.ts';
import { proving } from './proving.ts';
import { reading } from './reading.ts';
import { restoring } from './restoring.ts';
import { sealing } from './sealing.ts';

export type { ConformanceDevice, Lack, Subject } from './device.ts';

/** The last chapter closes a provider. */
const CHAPTERS = [ownKeys, sealing, exact, native, restoring, reading, proving, assumptions, ending];

export function providerConformance({ name, lacks, skips, make, makeForeign }: ConformanceDevice): void {
  const skipped: string[] = [];

  describe(`the provider of ${name}`, () => {
    let open: OpenPartitions;
    const subjects: Subject[] = [];

    beforeAll(async () => {
      const subject = await make('conforms');
      subjects.push(subject);
      const peer = await make('peer');
      subjects.push(peer);
      const { provider } = subject;
      const domain = await SoftwareDomain.installIn(provider);
      open = {
        subject,
        provider,
        other: peer.provider,
        domain,
        plant: (...planted) => domain.plant(provider, planted),
        read: async (handle) => (await provider.read([handle]))[0] as ObservedObject,
        blobOf: async (handle) => {
          const [outcome] = await provider.wrap(domain.handle, [handle]);
          if (outcome === undefined || !('blob' in outcome)) throw new Error('the key was not wrapped');
          return outcome.blob;
        },
        countObjects: async () => (await provider.inventory()).length,
      };
    });

    afterAll(() => Promise.all(subjects.map((one) => one.remove())));

    const chapter: Chapter = {
      promise: (title, work, ...needs) => {
        const lacking = needs.find((need) => lacks[need] !== undefined);
        if (lacking !== undefined) skipped.push(title);
        it(title, ({ skip }) => (lacking === undefined ? work(open) : skip(`${name}: ${lacks[lacking]}`)));
      },
      has: (what) => lacks[what] === undefined,
      make,
      makeForeign,
    };
    for (const declare of CHAPTERS) declare(chapter);

    it('skips exactly the promises that its device cannot be asked for', () => {
      expect(skipped).toEqual(skips);
    });
  });
}
