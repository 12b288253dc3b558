/** The table of outcomes is complete, every attack in it is tried, and operators read the same. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ATTACKS, type Attack, type AttackId } from './outcomes.ts';
import { DEVICES } from './support/device.ts';

const root = join(import.meta.dirname, '../..');
const attacks = Object.entries(ATTACKS) as [AttackId, Attack][];

/** The rows of the first table under a heading, without its head. */
function tableUnder(path: string, heading: string): string[][] {
  const lines = readFileSync(join(root, path), 'utf8').split('\n');
  const from = lines.indexOf(heading);
  if (from === -1) return [];
  const end = lines.findIndex((line, index) => index > from && line.startsWith('## '));
  const section = lines.slice(from, end === -1 ? undefined : end);
  return section
    .filter((line) => line.startsWith('|'))
    .slice(2)
    .map((line) =>
      line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim()),
    );
}

it('tries every attack of the table, once', () => {
  const tried = readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith('.attack.test.ts'))
    .map((name) => readFileSync(join(import.meta.dirname, name), 'utf8'))
    .flatMap((source) => [...source.matchAll(/^ {2}attack\(device, '([a-z-]+)',/gm)].map(([, id]) => id));
  expect(tried.sort()).toEqual(Object.keys(ATTACKS).sort());
});

it('stands in docs/security.md, attack by attack', () => {
  expect(tableUnder('docs/security.md', '## Attacks tried')).toEqual(
    attacks.map(([, { title, by, because, outcomes }]) => [
      title,
      by,
      ...DEVICES.map(({ name }) => outcomes[name]),
      because,
    ]),
  );
});

it.each(DEVICES)('names in the page of $name whatever is not refused there', ({ name, page }) => {
  expect(tableUnder(page, '## Attacks that are not refused')).toEqual(
    attacks
      .filter(([, { outcomes }]) => ['documented', 'not-applicable'].includes(outcomes[name]))
      .map(([, { title, outcomes, because, becauseOn }]) => [title, outcomes[name], becauseOn[name] ?? because]),
  );
});
