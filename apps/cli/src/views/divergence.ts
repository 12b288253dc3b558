/** Divergent objects for people: which ones a command means, what a merge does, and what came of it. */
import type { DivergentObject } from '@antipode/protocol';
import { AntipodeError } from '@antipode/runtime';

/** The meaning of each result of a merge that did not bring the object into the group. */
export const VERDICTS: Readonly<Record<string, string>> = {
  present: 'the active member has this key already.',
  deleted: 'the group has deleted this key. `antipode deleted restore` at the active site brings it back.',
  'name-taken':
    'another object at the active member has the label or CKA_ID of this one, or of another object with its CKA_ID. Rename or destroy one of them, and merge again.',
  excluded: 'a rule of the group keeps such objects at their site (`antipode group show`).',
  unopenable: 'it is sealed under a domain key version that the active member does not hold.',
  refused: 'the token of the active member did not take it. The error says why.',
  absent: 'the site does not have this object any more.',
};

/**
 * Objects by their ids or the first digits of them. Without words, those that nobody has decided about.
 * @throws NOT_FOUND
 */
export function chooseDivergent(
  objects: readonly DivergentObject[],
  words: readonly string[],
  { group, site }: { group: string; site: string },
): DivergentObject[] {
  if (words.length === 0) return objects.filter(({ state }) => state === 'divergent' || state === 'set-aside');
  const chosen = words.map((word, index) => {
    const isId = /^[0-9a-f]+$/i.test(word);
    const meant = isId ? objects.filter(({ objectId }) => objectId.startsWith(word.toLowerCase())) : [];
    if (meant.length === 1) return meant[0]!;
    throw new AntipodeError(
      'NOT_FOUND',
      `${meant.length} objects beside the line have the id in place ${index + 1} of the command, expected one`,
      {
        details: { group, site, place: index + 1 },
        hint: `Copy an object id from \`antipode divergence show ${group} ${site}\`. Names are known at the site only.`,
      },
    );
  });
  return [...new Set(chosen)];
}

export function mergeConsequences(
  { group, site }: { group: string; site: string },
  chosen: readonly DivergentObject[],
): string[] {
  if (chosen.length === 0) return [`Site ${site} has no such object beside the line of group ${group}.`];
  const kinds = [...Map.groupBy(chosen, ({ kind }) => kind)].map(([kind, some]) => `${some.length} ${kind}`);
  return [
    `${chosen.length} objects of site ${site} come into the token of the active member of group ${group}: ${kinds.join(', ')}.`,
    'Every member gets them with the next generation. No object of the group is replaced.',
  ];
}
