/**
 * Lists of objects: of a partition, and of a backup of one. Labels are free text, made by whoever makes keys, so that
 * every list is checked in itself and refused rather than read in part.
 */
import { AntipodeError } from '@antipode/runtime';
import type { Phrases } from '../phrases.ts';
import { recordsOf } from './fields.ts';

/** An object as `lunacm` lists it. Its label never leaves the site. */
export interface ListedObject {
  readonly label: string;
  /** Valid in this partition only: a copy has another. */
  readonly handle: string;
  readonly type: string;
  /** 24 hexadecimal digits. Nobody has confirmed that a copy keeps it. */
  readonly uid: string;
}

/** @throws LUNA_OUTPUT_UNCLEAR */
export function objectsIn(lines: readonly string[], phrases: Phrases): ListedObject[] {
  const end = lines.findIndex((line) => phrases.objectCount.pattern.test(line));
  const count = end === -1 ? undefined : Number(phrases.objectCount.pattern.exec(lines[end]!)?.[1]);
  const hasList = lines.some((line) => phrases.objectList.pattern.test(line));
  if (!hasList && count === undefined) throw unclear('it has neither a list nor a number of objects');
  const records = recordsOf(end === -1 ? lines : lines.slice(0, end), {
    first: 'Label',
    needed: ['Label', 'Handle', 'Object Type', 'Object UID'],
  });
  if (records === undefined) throw unclear('its objects are not listed alike');
  const objects = records.map(([label = '', handle = '', type = '', uid = '']) => ({
    ...{ label, handle, type },
    uid: uid.toLowerCase(),
  }));
  if (count !== undefined && count !== objects.length)
    throw unclear(`it lists ${objects.length} objects, and says that it has ${count}`);
  if (objects.some(({ handle, uid }) => !/^\d+$/.test(handle) || !/^[0-9a-f]{24}$/.test(uid)))
    throw unclear('a handle is not a number, or an object has no UID');
  if (new Set(objects.map(({ handle }) => handle)).size !== objects.length)
    throw unclear('two objects have the same handle');
  if (new Set(objects.map(({ uid }) => uid)).size !== objects.length) throw unclear('two objects have the same UID');
  return objects;
}

function unclear(why: string): AntipodeError {
  return new AntipodeError('LUNA_OUTPUT_UNCLEAR', `the list of objects cannot be read: ${why}`);
}
