import { expect, it } from 'vitest';
import { AntipodeError, CATALOGUE, type ErrorCode, hasCode, invariant, isErrorCode } from './errors.ts';
import { rejection, thrown } from './testing/index.ts';

it('starts every message with its code and takes disposition and hint from the catalogue', () => {
  for (const code of Object.keys(CATALOGUE) as ErrorCode[]) {
    const error = new AntipodeError(code, 'what happened');
    expect(error.message).toBe(`[${code}] what happened`);
    expect(error.disposition).toBe(CATALOGUE[code].disposition);
    expect(error.hint).toBe(CATALOGUE[code].hint);
  }
});

it('makes a defect of anything thrown that is not ours, and keeps it as the cause', () => {
  const cause = new TypeError('x is not a function');
  expect(AntipodeError.from(cause)).toMatchObject({ code: 'INVARIANT_BROKEN', disposition: 'defect', cause });
  expect(AntipodeError.from('text')).toMatchObject({ code: 'INVARIANT_BROKEN', cause: 'text' });
  expect(AntipodeError.from(undefined).disposition).toBe('defect');
});

it('passes what is ours through unchanged', () => {
  const error = new AntipodeError('EPOCH_STALE', 'late', { details: { epoch: 7n } });
  expect(AntipodeError.from(error)).toBe(error);
});

it('knows its codes and no others, not even those of every object', () => {
  expect(isErrorCode('EPOCH_STALE')).toBe(true);
  for (const word of ['', 'epoch_stale', 'constructor', '__proto__', 'toString']) expect(isErrorCode(word)).toBe(false);
});

it('tells its own codes from those of others', () => {
  const error = new AntipodeError('TIMED_OUT', 'late');
  expect(hasCode(error, 'HSM_UNAVAILABLE', 'TIMED_OUT')).toBe(true);
  expect(hasCode(error, 'HSM_UNAVAILABLE')).toBe(false);
  expect(hasCode(Object.assign(new Error('late'), { code: 'TIMED_OUT' }), 'TIMED_OUT')).toBe(false);
});

it('stops where an invariant is broken, and only there', () => {
  expect(thrown(() => invariant(0, 'no handle', { objectId: 'ab' }))).toMatchObject({
    code: 'INVARIANT_BROKEN',
    details: { objectId: 'ab' },
  });
  invariant('something', 'not reached');
});

it('fails a test whose call throws nothing, or something that is not ours', async () => {
  expect(() => thrown(() => 1)).toThrow('nothing was thrown');
  expect(() => thrown(() => JSON.parse('{'))).toThrow(SyntaxError);
  await expect(rejection(Promise.resolve())).rejects.toThrow('nothing was thrown');
  await expect(rejection(async () => JSON.parse('{'))).rejects.toThrow(SyntaxError);
});

it('has the hint of the catalogue, unless the place that raised it knows better', () => {
  const [plain, own] = [
    new AntipodeError('FILE_EXISTS', 'it is there'),
    new AntipodeError('FILE_EXISTS', 'an agent runs there', { hint: 'Stop it first.' }),
  ];
  expect([plain.hint, plain.ownHint]).toEqual([CATALOGUE.FILE_EXISTS.hint, undefined]);
  expect([own.hint, own.ownHint]).toEqual(['Stop it first.', 'Stop it first.']);
});
