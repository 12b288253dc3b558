/** Whatever a build prints between the facts, and in whatever pieces it arrives, the driver reads the same. */
import fc from 'fast-check';
import { afterEach, expect, it } from 'vitest';
import { DIALECTS } from '../../emulators/lunacm/dialect.ts';
import { LunaSite } from '../../emulators/lunacm/luna-site.ts';

let site: LunaSite | undefined;
afterEach(() => site?.close());

/** A line break is refused by a test of its own, and control characters are taken out on both sides. */
const label = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 32 }).filter((text) => !/\p{Cc}/u.test(text)),
  fc.constantFrom('lunacm:>', 'lunacm:> x', 'Command Result : No Error', 'a -> b', ': ->', '->', '?', 'Label: x', '0'),
);

const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 8 });

/** Cuts by these sizes, over and over: also in a prompt, and within a character of several bytes. */
function cutBy(lengths: readonly number[]): (bytes: Uint8Array) => Uint8Array[] {
  let turn = 0;
  return (bytes) => {
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = lengths[turn++ % lengths.length]!;
      pieces.push(bytes.subarray(at, at + length));
      at += length;
    }
    return pieces;
  };
}

it('reads the same objects over every dialect, echo, line end and piece', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(label, { maxLength: 5 }),
      fc.constantFrom(...DIALECTS),
      fc.record({ echo: fc.boolean(), carriageReturns: fc.boolean() }),
      fc.constantFrom('line' as const, 'byte' as const),
      sizes,
      async (labels, dialect, settings, buffering, lengths) => {
        const here = new LunaSite({ logins: 'ped', settings: { dialect, buffering, ...settings } });
        site = here;
        here.launcher.cut = cutBy(lengths);
        const made = labels.map((text) => here.addKey(text));
        const { objects, info } = await here.finish(here.driver.contents(here.source.address, here.source.login));
        expect(objects).toEqual(
          made.map(({ label: text, handle, type, uid }) => ({ label: text.trim(), handle: `${handle}`, type, uid })),
        );
        expect(info).toMatchObject({
          serial: '154438865287',
          label: 'par0',
          objectCount: labels.length,
          isFips: false,
        });
        here.close();
      },
    ),
    { numRuns: 60 },
  );
});

it('reads the same vault over every dialect, line end and piece', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(
        fc.string({ unit: fc.constantFrom(...'ab :->0'), maxLength: 8 }).map((text) => `b${text}e`),
        { maxLength: 4 },
      ),
      fc.constantFrom(...DIALECTS),
      fc.boolean(),
      sizes,
      async (names, dialect, carriageReturns, lengths) => {
        const here = new LunaSite({ settings: { dialect, carriageReturns } });
        site = here;
        here.launcher.cut = cutBy(lengths);
        here.change('532018', ({ archives }) => {
          for (const name of names) archives.push({ name, hash: '', domain: 'one', totalBytes: 1_000 });
        });
        const vault = await here.finish(here.driver.vault(here.vault.address));
        expect(vault.archives.map(({ name, totalBytes }) => [name, totalBytes])).toEqual(
          names.map((name) => [name, 1_000]),
        );
        expect(vault.freeBytes).toBe(2_000_000 - 1_000 * names.length);
        here.close();
      },
    ),
    { numRuns: 40 },
  );
});
