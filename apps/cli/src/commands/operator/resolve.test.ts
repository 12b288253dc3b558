import { AntipodeError } from '@antipode/runtime';
import { expect, it } from 'vitest';
import { isPassing } from './resolve.ts';

it.each([
  'NOT_SERVED',
  'SITE_UNREACHABLE',
  'TIMED_OUT',
  'DATABASE_UNAVAILABLE',
  'LEADERSHIP_LOST',
  'NOT_LEADER',
] as const)('--wait goes on after %s', (code) => {
  expect(isPassing(new AntipodeError(code, 'away'))).toBe(true);
});

it.each(['NOT_FOUND', 'PEER_REFUSED', 'GROUP_CONTRADICTED', 'CONFIG_INVALID'] as const)(
  '--wait ends with %s, which a person must see to',
  (code) => {
    expect(isPassing(new AntipodeError(code, 'no'))).toBe(false);
  },
);
