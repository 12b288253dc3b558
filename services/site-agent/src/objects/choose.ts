/**
 * Which objects a person means. A word is the first digits of an object id, a whole CKA_ID, or a whole label. It must mean
 * one object. If two have the same label, only an id tells them apart.
 *
 * A word may be a label, and labels stay out of error messages. So an error names a word by its place, and repeats only
 * what can be an id.
 */
import { AntipodeError } from '@antipode/runtime';
import type { SiteObject } from './site-object.ts';

type Nameable = Pick<SiteObject, 'objectId' | 'label' | 'ckaId'>;

/** In the order of the words, each object once. All of them without words. @throws NOT_FOUND */
export function chooseObjects<One extends Nameable>(
  objects: readonly One[],
  words: readonly string[],
  { list }: { list: string },
): One[] {
  if (words.length === 0) return [...objects];
  return [...new Set(words.flatMap((word, index) => meantBy(objects, { word, index, list })))];
}

/** One object can be in the list in several states: they are shown together. */
function meantBy<One extends Nameable>(
  objects: readonly One[],
  { word, index, list }: { word: string; index: number; list: string },
): One[] {
  const wanted = word.toLowerCase();
  const isHex = /^[0-9a-f]+$/.test(wanted);
  const whole = isHex ? objects.filter(({ objectId }) => objectId === wanted) : [];
  const meant =
    whole.length > 0
      ? whole
      : objects.filter(
          ({ objectId, ckaId, label }) =>
            (isHex && (objectId?.startsWith(wanted) === true || ckaId === wanted)) || (word !== '' && label === word),
        );
  const different = new Set(meant.map((one) => one.objectId ?? one));
  if (different.size === 1) return meant;
  // Digits can be a label too.
  const isId = isHex && objects.every(({ label }) => label !== word);
  const named = isId ? ` (${wanted})` : '';
  throw new AntipodeError(
    'NOT_FOUND',
    `${different.size} objects have the id, CKA_ID or label in place ${index + 1} of the command${named}, expected one`,
    {
      details: isId ? { object: wanted } : { place: index + 1 },
      hint:
        different.size === 0
          ? `Copy an id from \`${list}\`. An object that was changed or deleted since can have another id.`
          : `Copy the id of the one you mean from \`${list}\`, with all digits.`,
    },
  );
}
