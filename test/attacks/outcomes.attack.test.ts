/** The table of outcomes is complete, every attack in it is tried, and operators read the same. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { ATTACKS, type Attack, type AttackId } from './outcomes.ts';
import { DEVICES } from './support/device.ts';

const root = join(import.meta.dirname, '../..');
const attacks = Object.entries(ATTACKS) as [AttackId, Attack][];

/** The items of the list under a heading: what is in bold, what is in brackets behind it, and the text. */
function listUnder(path: string, heading: string): string[][] {
  const lines = readFileSync(join(root, path), 'utf8').split('\n');
  const from = lines.indexOf(heading);
  if (from === -1) return [];
  const end = lines.findIndex((line, index) => index > from && line.startsWith('## '));
  const section = lines.slice(from, end === -1 ? undefined : end).join('\n');
  const items = section.replaceAll(/\n {2}(?=\S)/g, ' ').matchAll(/^- \*\*(.+?)\*\* \((.+?)\)\. (.*)$/gm);
  return [...items].map(([, ...parts]) => parts.map(String));
}

const sentence = (text: string): string => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

it('tries every attack of the table, once', () => {
  const tried = readdirSync(import.meta.dirname)
    .filter((name) => name.endsWith('.attack.test.ts'))
    .map((name) => readFileSync(join(import.meta.dirname, name), 'utf8'))
    .flatMap((source) => [...source.matchAll(/^ {2}attack\(device, '([a-z-]+)',/gm)].map(([, id]) => id));
  expect(tried.sort()).toEqual(Object.keys(ATTACKS).sort());
});

it('is in docs/security.md, attack by attack', () => {
  expect(listUnder('docs/security.md', '## Attacks tried')).toEqual(
    attacks.map(([, { title, by, because, outcomes }]) => [
      title,
      `${by}; SoftHSM ${outcomes.softhsm}, NSS ${outcomes.nss}`,
      sentence(because),
    ]),
  );
});

it.each(DEVICES)('names in the page of $name whatever is not refused there', ({ name, page }) => {
  expect(listUnder(page, '## Attacks that are not refused')).toEqual(
    attacks
      .filter(([, { outcomes }]) => ['documented', 'not-applicable'].includes(outcomes[name]))
      .map(([, { title, outcomes, because, becauseOn }]) => [
        title,
        outcomes[name],
        sentence(becauseOn[name] ?? because),
      ]),
  );
});
