import { expect, it } from 'vitest';
import { paths, read, type SourceFile } from './support/tree.ts';

/**
 * Strings that would tie the repository to one machine or one network. Written so that this file does not break its own
 * rule.
 */
const PLACES: Readonly<Record<string, RegExp>> = {
  'a package registry': /\bregistry\.[a-z0-9-]+\.[a-z]{2,}\b/i,
  'an absolute path of one machine': /(?<![\w.)\]}*-])\/(?:work|home\/[a-z]\w*|Users\/\w+)\//,
};

function placesIn({ path, source }: SourceFile): string[] {
  return source.split('\n').flatMap((text, at) =>
    Object.entries(PLACES)
      .filter(([, pattern]) => pattern.test(text))
      .map(([what]) => `${path}:${at + 1}: ${what}`),
  );
}

it('no file names a package registry or a path of one machine', () => {
  expect(paths().map(read).flatMap(placesIn)).toEqual([]);
});

it.each([`see https://${'registry'}.example.org/pkg`, `cd /${'work'}/main`, `"/${'home'}/anna/x"`])(
  'sees the place in %s',
  (source) => {
    expect(placesIn({ path: 'a', source })).toHaveLength(1);
  },
);

it.each(['src/work/a.ts', 'a queue/work/b', '${root}/work/', './work/', 'the registry. Then'])(
  'sees no place in %s',
  (source) => {
    expect(placesIn({ path: 'a', source })).toEqual([]);
  },
);

it('the lock file has no download addresses', () => {
  const { packages } = JSON.parse(read('package-lock.json').source) as {
    packages: Record<string, { resolved?: string; link?: boolean }>;
  };
  const addresses = Object.entries(packages).filter(
    ([, { resolved, link }]) => resolved !== undefined && link !== true,
  );
  expect(addresses).toEqual([]);
});
