/** Lists that do not agree with themselves are refused, and never read in part. */
import { thrown } from '@antipode/runtime/testing';
import { describe, expect, it } from 'vitest';
import { readPhrases } from '../phrases.ts';
import { vaultIn } from './archives.ts';
import { objectsIn } from './contents.ts';
import { policiesIn } from './policies.ts';
import { failureOf, trailerOf } from './reply.ts';
import { slotsIn } from './slots.ts';

const phrases = readPhrases();
const UID = 'ab'.repeat(12);

const object = (label: string, handle: number, uid = UID): string[] => [
  `  Label:          ${label}`,
  `  Handle:         ${handle}`,
  '  Object Type:    Private Key',
  `  Object UID:     ${uid}`,
  '',
];
const other = (at: number): string => `${at}`.padStart(24, '0');

describe('a list of objects', () => {
  const list = ['  Object list:', '', ...object('a', 1), ...object('b', 2, other(2))];

  it('is read, with a number of objects or without', () => {
    for (const end of [[], ['Number of objects:  2']])
      expect(objectsIn([...list, ...end], phrases).map(({ label, handle }) => [label, handle])).toEqual([
        ['a', '1'],
        ['b', '2'],
      ]);
    expect(objectsIn(['Number of objects: 0'], phrases)).toEqual([]);
  });

  it.each(['\u2028', '\u2029', '\u0085'])('is read whole where a label holds another line end (%j)', (end) => {
    const label = `a${end}b`;
    const read = objectsIn([...object(label, 1), ...object('c', 2, other(2)), 'Number of objects: 2'], phrases);
    expect(read.map((listed) => listed.label)).toEqual([label, 'c']);
  });

  it.each([
    ['another number of objects', [...list, 'Number of objects: 3']],
    ['no list and no number', ['  something else']],
    ['a handle twice', [...list, ...object('c', 2, other(3))]],
    ['a UID twice', [...list, ...object('c', 3)]],
    ['an object without a UID', [...list, '  Label: c', '  Handle: 3', '  Object Type: Private Key', '']],
    ['a handle that is not a number', [...list, ...object('c', Number.NaN, other(3))]],
    ['a UID that is too short', [...list, ...object('c', 3, 'abc')]],
    [
      'an object with more fields than the others',
      [...list, '  Extra: 1', ...object('c', 3, other(3)).slice(0, 4), ' X: 1'],
    ],
    [
      'a line that is not a field in an object',
      [...list, ...object('c\nd', 3, other(3)).flatMap((line) => line.split('\n'))],
    ],
  ])('is refused with %s', (_what, lines) => {
    expect(thrown(() => objectsIn(lines, phrases)).code).toBe('LUNA_OUTPUT_UNCLEAR');
  });
});

describe('a list of backups', () => {
  const backup = (name: string, count = 1): string[] => [
    ...[`Name: ${name}`, 'Total Storage Size: 900', 'Used Storage Size: 300', 'Free Storage Size: 600'],
    ...[`Number Of Objects: ${count}`, ''],
  ];
  const head = (count: number): string[] => ['Free HSM Storage Space: 5', `Number of Partitions: ${count}`, ''];

  it('is read with the space that is left', () => {
    expect(vaultIn([...head(2), ...backup('a'), ...backup('b: c')], phrases)).toEqual({
      freeBytes: 5,
      archives: ['a', 'b: c'].map((name) => ({ name, totalBytes: 900, usedBytes: 300, objectCount: 1 })),
    });
  });

  it.each([
    ['another number of backups', [...head(2), ...backup('a')]],
    ['no number of backups', backup('a')],
    ['a name twice', [...head(2), ...backup('a'), ...backup('a')]],
    ['a size that is not a number', [...head(1), ...backup('a').map((line) => line.replace('300', '3 KB'))]],
    ['a backup without a size', [...head(1), ...backup('a').filter((line) => !line.startsWith('Used'))]],
  ])('is refused with %s', (_what, lines) => {
    expect(thrown(() => vaultIn(lines, phrases)).code).toBe('LUNA_OUTPUT_UNCLEAR');
  });
});

it('two slots with one number, or one without a serial number, are refused', () => {
  const slot = (number: number, serial: string): string[] => [`Slot Id -> ${number}`, `Serial Number -> ${serial}`, ''];
  expect(slotsIn([...slot(0, '1'), ...slot(1, '2')], phrases).map(({ serial }) => serial)).toEqual(['1', '2']);
  for (const lines of [
    [...slot(0, '1'), ...slot(0, '2')],
    [...slot(0, '1'), ...slot(1, '')],
  ])
    expect(thrown(() => slotsIn(lines, phrases)).code).toBe('LUNA_OUTPUT_UNCLEAR');
});

it('policies are read, and capabilities are not', () => {
  const lines = ['  Partition Capabilities', '   0: Enable x : 1', '', '  Partition Policies', '   0: Allow x : 0'];
  expect(policiesIn(lines, phrases).values.get(0)).toEqual({ value: 0, text: 'x' });
});

describe('a trailer', () => {
  it.each([
    ['Command Result : No Error', 'No Error'],
    ['  Command Result:   No Error  ', 'No Error'],
    ['  Label:    Command Result : No Error', undefined],
    ['Command Result', undefined],
  ])('is found in "%s" or not', (line, body) => {
    expect(trailerOf(line, phrases)).toBe(body);
  });

  it.each([
    ['No Error', [], undefined],
    ['No Errors at all', [], { refusal: 'other', code: '' }],
    ['0 (Success)', [], { refusal: 'otherTool', code: '' }],
    ['0xa0 (CKR_PIN_INCORRECT)', [], { refusal: 'wrongPassword', code: 'CKR_PIN_INCORRECT' }],
    ['0xA4', ['Error in execution :  CKR_PIN_LOCKED.'], { refusal: 'roleLocked', code: 'CKR_PIN_LOCKED' }],
    ['0xA4', ['  Label:  CKR_PIN_LOCKED'], { refusal: 'other', code: '0xA4' }],
    ['0x1 Unknown command', [], { refusal: 'unknownCommand', code: '0x1' }],
  ])('with "%s" is a success only if it says exactly that', (trailer, lines, failure) => {
    expect(failureOf(trailer, lines, phrases)).toEqual(failure);
  });
});
