/**
 * docs/clients.md as a test runs it: the blocks of each section, told apart by the words behind their fences.
 *
 * - `sh place`: once at each site: the shell learns where the group is served. In the section before the programs
 * - `sh every`: before each other block of its section; that of the section before the programs, before all others
 * - `sh once`: at the source, before the keys replicate
 * - `sh use`: at either site, with the output of the `text` block that follows
 * - `sh stays`: at the source, where it makes keys that are not replicated
 * - `sh fails`: anywhere, where it fails, and prints at least the `text` block that follows
 * - `sh fails-as-root`: the same where root starts it
 * - `sh fails-elsewhere`: the same at a site that has the keys of another one
 */
import { readFileSync } from 'node:fs';

const PAGE = new URL('../../docs/clients.md', import.meta.url);
const COMMON = 'Before you start';
const KINDS = ['once', 'use', 'stays', 'fails', 'fails-as-root', 'fails-elsewhere'] as const;
export type BlockKind = (typeof KINDS)[number];

export interface Block {
  readonly kind: BlockKind;
  /** With everything that comes before it. */
  readonly script: string;
  /** Its output by the page: all of it, or a part where it fails. */
  readonly output: string;
}

export interface ProgramSection {
  readonly program: string;
  readonly text: string;
  readonly blocks: readonly Block[];
}

export const readPage = (): { place: string; sections: ProgramSection[] } => {
  const page = readFileSync(PAGE, 'utf8');
  return { place: placeOf(page), sections: sectionsOf(page) };
};

/** The block by which a shell learns the place. @throws where there is not exactly one */
export function placeOf(page: string): string {
  const places = page
    .split(/^## /m)
    .slice(1)
    .map(read)
    .filter(({ program }) => program === COMMON)
    .flatMap(({ fences }) => fences.filter(({ words }) => words === 'sh place'));
  if (places.length !== 1) throw new Error(`${COMMON}: needs one block "sh place", and has ${places.length}`);
  return places[0]!.text;
}

/** @throws where a block has no known kind, or one that is used or fails does not say what it prints */
export function sectionsOf(page: string): ProgramSection[] {
  const sections = page.split(/^## /m).slice(1).map(read);
  const common = sections.find(({ program }) => program === COMMON)?.every ?? '';
  return sections
    .filter(({ program, fences }) => program !== COMMON && fences.length > 0)
    .map(({ program, text, every, fences }) => ({ program, text, blocks: blocksOf(program, common + every, fences) }));
}

interface Fence {
  readonly words: string;
  readonly text: string;
}

function read(section: string): Omit<ProgramSection, 'blocks'> & { every: string; fences: Fence[] } {
  const fences = [...section.matchAll(/^```([^\n]*)\n(.*?)^```$/gms)].map(([, words = '', text = '']) => ({
    words,
    text,
  }));
  const every = fences.filter(({ words }) => words === 'sh every').map(({ text }) => text);
  return {
    program: section.slice(0, section.indexOf('\n')),
    text: section,
    every: every.join(''),
    fences: fences.filter(({ words }) => words !== 'sh every'),
  };
}

function blocksOf(program: string, before: string, fences: readonly Fence[]): Block[] {
  return fences.flatMap(({ words, text }, index) => {
    if (words === 'text') return [];
    const kind = KINDS.find((one) => words === `sh ${one}`);
    const next = fences[index + 1];
    if (kind === undefined) throw new Error(`${program}: a block is marked "${words}"`);
    const prints = kind !== 'once' && kind !== 'stays';
    if (prints !== (next?.words === 'text'))
      throw new Error(`${program}: a block "${words}" needs its output after it`);
    return [{ kind, script: before + text, output: prints ? next!.text : '' }];
  });
}
