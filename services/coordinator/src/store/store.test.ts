import { expect, it } from 'vitest';
import { toJson } from './store.ts';

it('writes BigInts as the digits they are', () => {
  expect(toJson({ number: 12n, list: [3n, 4], nothing: undefined })).toBe('{"number":"12","list":["3",4]}');
});
