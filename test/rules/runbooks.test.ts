/** Runbooks: which pages a test follows, the form of their blocks, and how the output of a page is compared. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isAsShown, readRunbook, sectionsOfRunbook, typedFromSources } from '../support/runbook-page.ts';
import { read, root, sources } from './support/tree.ts';

const INDEX = 'README.md';
const pages = readdirSync(join(root, 'docs/runbooks')).filter((name) => name !== INDEX);
const stories = ['runbooks.int.test.ts', 'runbooks-of-backups.int.test.ts', 'revocation.int.test.ts'];
const story = stories.map((name) => read(`test/integration/system/${name}`).source).join('\n');
const followed = [...story.matchAll(/\.follow\('([\w-]+\.md)'/g)].map(([, name]) => name!);
/** Nights on which nobody has time to find out that a page is wrong. */
const NIGHTS = [
  'site-lost',
  'site-returns',
  'divergence',
  'failback',
  'hsm-lost',
  'coordinator-lost',
  'lost-quorum',
  'database-lost',
  'restore-the-database',
  'rebuild-the-database',
];

describe('the runbooks', () => {
  it('are all in the index, which says which of them a test follows', () => {
    const index = readRunbook(INDEX);
    expect(pages.filter((name) => !index.includes(`](${name})`))).toEqual([]);
    const [, promise = ''] = index.split('## How far you can trust them');
    const promised = [...promise.matchAll(/^- \[.*\]\(([\w-]+\.md)\)$/gm)].map(([, name]) => name!);
    expect(promised).toEqual(followed);
  });

  it('for the worst nights are followed, with commands to type', () => {
    expect(NIGHTS.filter((name) => !followed.includes(`${name}.md`))).toEqual([]);
    for (const name of followed) {
      const blocks = sectionsOfRunbook(readRunbook(name)).flatMap((section) => section.blocks);
      expect([name, blocks.length]).toEqual([name, expect.toSatisfy((count: number) => count >= 2)]);
    }
  });

  it('say what not to do', () => {
    expect(followed.filter((name) => !readRunbook(name).includes('\n## Do not\n'))).toEqual([]);
  });

  it('name both ways wherever the package and the sources differ', () => {
    const differs = /\bantipode (?:agent run|coordinator run|partition |peer |doctor --agent)/;
    const lines = pages.flatMap((name) =>
      fencedLines(readRunbook(name)).map((line, index, all) => ({ name, line, before: all[index - 1] ?? '' })),
    );
    const own = lines.filter(({ line }) => differs.test(line));
    expect(own.length).toBeGreaterThan(15);
    const lonely = own.filter(
      ({ line, before }) => !line.endsWith(' # from the sources') || !before.endsWith(' # with the package'),
    );
    expect(lonely.map(({ name, line }) => `${name}: ${line}`)).toEqual([]);
    for (const name of pages) expect(() => typedFromSources(fencedLines(readRunbook(name)).join('\n'))).not.toThrow();
  });

  it('that messages and hints name are there', () => {
    const files = sources({ under: ['packages/', 'services/', 'apps/'], endings: ['.ts'] });
    const named = files.flatMap(({ source }) => [...source.matchAll(/docs\/runbooks\/([\w-]+\.md)/g)]);
    const names = new Set(named.map(([, name]) => name!));
    expect([...names].filter((name) => !pages.includes(name))).toEqual([]);
    const unnamed = ['hsm-lost.md', 'lost-quorum.md', 'coordinator-lost.md', 'database-lost.md'];
    expect(unnamed.filter((name) => !names.has(name))).toEqual([]);
  });
});

/** Lines of commands, of tested blocks and others. */
function fencedLines(page: string): string[] {
  return [...page.matchAll(/^ *```sh[^\n]*\n(.*?)^ *```$/gms)].flatMap(([, text = '']) =>
    text.split('\n').map((line) => line.trim()),
  );
}

describe('a command of a page', () => {
  it('is typed in the way of the sources, and as it is where there is one way', () => {
    const both = 'systemctl start antipode-agent   # with the package\nantipode agent run   # from the sources\n';
    expect(typedFromSources(both)).toBe('antipode agent run\n');
    expect(typedFromSources('antipode status   # worst first\n')).toBe('antipode status   # worst first\n');
  });

  it.each(['antipode agent run # from the sources\n', 'systemctl start antipode-agent # with the package\n'])(
    'is refused where it names only one way: %s',
    (script) => {
      expect(() => typedFromSources(script)).toThrow();
    },
  );
});

describe('a block of a page', () => {
  const blockOf = (fences: string) =>
    sectionsOfRunbook(`# Page\n\n## Step\n\n${fences}`).flatMap(({ blocks }) => blocks);

  it('says where it is typed, how it ends, and what it prints', () => {
    expect(blockOf('```sh at a answer main status 5\ntrue\n```\n\n```text\ndone\n```\n')).toEqual([
      {
        heading: 'Step',
        at: 'a',
        status: 5,
        isRepeated: false,
        isStart: false,
        answers: ['main'],
        script: 'true\n',
        expected: 'done\n',
      },
    ]);
    expect(blockOf('```sh otherwise\nfalse\n```\n\n```text otherwise\nno\n```\n\n```yaml\na: 1\n```\n')).toEqual([]);
  });

  it.each([
    ['without a word for its kind', '```\nantipode status\n```\n'],
    ['with a word that nobody knows', '```sh perhaps\nantipode status\n```\n'],
    ['of an output without its command', '```text\nok\n```\n'],
    ['of an output after that of another night', '```sh otherwise\ntrue\n```\n\n```text\nok\n```\n'],
    ['that is repeated without an end', '```sh until\nantipode status\n```\n'],
  ])('%s is refused', (_, fences) => {
    expect(() => blockOf(fences)).toThrow();
  });
});

describe('the output of a page', () => {
  const row = 'a     up     2.1 s  localhost:4711  a:main ok  3 objects\n';

  it('may differ in times, addresses, serial numbers, counts and widths', () => {
    expect(isAsShown('a up 17 min a.example.org:7401 a:main ok 12 objects\n', row)).toBe(true);
    expect(
      isAsShown(
        'key 0011223344556677 of 2026-01-02T03:04:05.678Z\n',
        'key ffeeddccbbaa9988 of 2027-11-12T13:14:15.161Z\n',
      ),
    ).toBe(true);
  });

  it('may leave out lines and words where it says so', () => {
    expect(isAsShown('...\nsecond ...\n...\n', 'first\nsecond line\nthird\nfourth\n')).toBe(true);
  });

  it.each([
    ['another word', 'a down 2.1 s localhost:4711 a:main ok 3 objects\n'],
    ['none where there are some', 'a up 2.1 s localhost:4711 a:main ok 0 objects\n'],
    ['a line that is missing', `${row}b up\n`],
    ['a line too many', ''],
  ])('differs by %s', (_, shown) => {
    expect(isAsShown(shown, row)).toBe(false);
  });
});
