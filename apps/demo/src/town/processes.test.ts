import { expect, it } from 'vitest';
import { lastError } from './processes.ts';

const line = (fields: object): string => JSON.stringify({ time: '2026-01-01T00:00:00.000Z', ...fields });

it.each([
  [
    'what the command printed as it ended, with its code',
    [
      line({ level: 'info', message: 'starting' }),
      '[CONFIG_INVALID] user postgres may not enter',
      '  Correct the place.',
    ],
    { code: 'CONFIG_INVALID', text: 'user postgres may not enter' },
  ],
  [
    'the last line of its log that is an error, with its code',
    [
      line({ level: 'error', message: 'old' }),
      line({ level: 'error', message: 'defect: the process ends', error: { message: '[HSM_FULL] no room' } }),
      line({ level: 'info', message: 'after' }),
    ],
    { code: 'HSM_FULL', text: 'no room' },
  ],
  ['an error without a code', [line({ level: 'error', message: 'odd' })], { code: 'PROGRAM_MISSING', text: 'odd' }],
  [
    'an error with a code of another version',
    ['[FROM_THE_FUTURE] x'],
    { code: 'PROGRAM_MISSING', text: '[FROM_THE_FUTURE] x' },
  ],
  [
    'what anything else wrote last',
    [line({ level: 'info', message: 'x' }), 'Killed', '', 'null'],
    { code: 'PROGRAM_MISSING', text: 'null' },
  ],
  ['nothing', [], { code: 'PROGRAM_MISSING', text: 'it wrote no error' }],
])('a process that ended is explained by %s', (_what, lines, expected) => {
  expect(lastError(`${lines.join('\n')}\n`)).toEqual(expected);
});
