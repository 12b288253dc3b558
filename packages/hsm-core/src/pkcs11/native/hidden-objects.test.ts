import { rejection } from '@antipode/runtime/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import type { StoredUnseen } from '../../provider/native-cloner.ts';
import { HiddenObjects } from './hidden-objects.ts';

const DAMAGED = { id: 'aa', hasContent: true, isSound: false };
const SOUND = { id: 'bb', hasContent: true, isSound: true };

let stored: StoredUnseen[];
let hidden: HiddenObjects;
beforeEach(() => {
  stored = [];
  hidden = new HiddenObjects(async () => stored);
});

describe('objects that a token hides', () => {
  it('are seen twice when two looks in a row saw them', async () => {
    stored = [DAMAGED];
    const seen = async () => (await hidden.beside([])).map(({ id, seenTwice }) => [id, seenTwice]);
    expect(await seen()).toEqual([['aa', false]]);
    expect(await seen()).toEqual([['aa', true]]);
    stored = [];
    expect(await seen()).toEqual([]);
    stored = [DAMAGED];
    expect(await seen()).toEqual([['aa', false]]);
  });

  it('end the use of the module if they are sound at two looks, and were not there when it was loaded', async () => {
    await hidden.beside([]);
    stored = [SOUND];
    await hidden.beside([]);
    expect(await rejection(hidden.beside([]))).toMatchObject({ code: 'HSM_SESSION_VOID' });
  });

  it('are hidden by the token itself if a module that was just loaded does not show them', async () => {
    stored = [SOUND];
    for (const seenTwice of [false, true, true])
      expect(await hidden.beside([])).toEqual([{ id: 'bb', hasContent: true, seenTwice }]);
  });
});
